//! Inputs out of others: bits flipped, bytes and words replaced, pieces moved, repeated, cut out or taken from elsewhere.

use ::tests::chance::Chance;

/// Bytes at which things change.
const BYTES: [u8; 16] = [0, 1, 2, 4, 6, 17, 20, 0x2b, 0x2c, 0x33, 0x3a, 0x3c, 0x45, 0x7f, 0x80, 0xff];
/// Changes of one input at most.
const CHANGES_MAX: usize = 6;

/// Changes `input`, which has at most `bytes_max` bytes afterwards; `other` is where pieces are taken from, and `words` is
/// what its format is made of.
pub fn mutate(chance: &mut Chance, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], bytes_max: usize) {
    for _ in 0..=chance.below(CHANGES_MAX) {
        change(chance, input, other, words);
        input.truncate(bytes_max);
    }
}

fn change(chance: &mut Chance, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = chance.below(input.len());
    let places = input.len();
    match chance.below(10) {
        0 if places > 0 => input[at] ^= 1 << chance.below(8),
        1 if places > 0 => input[at] = *chance.of(&BYTES),
        2 if places > 0 => input[at] = chance.number() as u8,
        3 if places > 0 => input[at] = input[at].wrapping_add(*chance.of(&[1, 0xff, 16, 0xf0])),
        4 => input.truncate(at),
        5 => {
            let piece = piece(chance, other).to_vec();
            let end = if chance.one_in(2) { at } else { (at + piece.len()).min(places) };
            input.splice(at..end, piece);
        }
        6 => {
            let end = at + chance.below(places - at + 1).min(64);
            input.drain(at..end);
        }
        7 => {
            let piece = piece(chance, input).to_vec();
            input.splice(at..at, piece);
        }
        8 if !words.is_empty() => {
            let word = *chance.of(words);
            let end = if chance.one_in(2) { at } else { (at + word.len()).min(places) };
            input.splice(at..end, word.iter().copied());
        }
        _ => input.extend((0..1 + chance.below(24)).map(|_| chance.number() as u8)),
    }
}

/// Up to 64 bytes of an input; now and then all that follows.
fn piece<'a>(chance: &mut Chance, input: &'a [u8]) -> &'a [u8] {
    let from = chance.below(input.len());
    let rest = input.len() - from;
    let bytes = if chance.one_in(8) { rest } else { chance.below(rest + 1).min(64) };
    &input[from..from + bytes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_stays_within_its_bytes_and_takes_words_and_pieces() {
        let mut chance = Chance::new(3);
        let (mut words, mut pieces, mut longest) = (0, 0, 0);
        for _ in 0..2_000 {
            let mut input = vec![b'.'; 50];
            mutate(&mut chance, &mut input, b"OTHER", &[b"WORD"], 60);
            longest = longest.max(input.len());
            let has = |wanted: &[u8]| usize::from(input.windows(wanted.len()).any(|part| part == wanted));
            (words, pieces) = (words + has(b"WORD"), pieces + has(b"OTH"));
        }
        assert_eq!(longest, 60);
        assert!(words > 100 && pieces > 20, "{words} words and {pieces} pieces");
    }

    #[test]
    fn an_empty_input_grows() {
        let mut chance = Chance::new(5);
        let grown = (0..100).filter(|_| {
            let mut input = Vec::new();
            mutate(&mut chance, &mut input, b"", &[], 100);
            !input.is_empty()
        });
        assert!(grown.count() > 20);
    }
}
