//! A sorted set in chunks: nothing but the members, so that a list of millions has room.
//!
//! A member costs its own size and at most as much again, some 5 bytes for an IPv4 address of a long list. To look one
//! up takes two binary searches; to insert one moves half a chunk.

use std::ops::RangeInclusive;

/// Members of one chunk at most.
const CHUNK: usize = 512;

/// Where the last member was looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint(usize);

/// Members in order, each once.
#[derive(Debug, Default)]
pub struct Sorted<T> {
    /// The first member of each chunk.
    firsts: Vec<T>,
    /// None is empty.
    chunks: Vec<Vec<T>>,
    count: usize,
}

impl<T: Copy + Ord> Sorted<T> {
    pub const fn new() -> Self {
        Self { firsts: Vec::new(), chunks: Vec::new(), count: 0 }
    }

    pub const fn len(&self) -> usize {
        self.count
    }

    /// Members that come in order are found faster with the same hint.
    pub fn contains(&self, member: &T, hint: &mut Hint) -> bool {
        hint.0 = self.find(member, hint.0);
        self.chunks.get(hint.0).is_some_and(|chunk| chunk.binary_search(member).is_ok())
    }

    /// The chunk that has a member if there is one, looked for from another one on.
    fn find(&self, member: &T, from: usize) -> usize {
        let from = if self.firsts.get(from).is_some_and(|first| first <= member) { from } else { 0 };
        // Near by, as a rule.
        let (mut step, mut end) = (1, from + 1);
        while self.firsts.get(end).is_some_and(|first| first <= member) {
            step *= 2;
            end += step;
        }
        let behind = (from + 1).max((end - step).min(self.firsts.len()));
        let end = end.min(self.firsts.len());
        let rest = self.firsts.get(behind..end).unwrap_or_default();
        behind + rest.partition_point(|first| first <= member) - 1
    }

    /// Whether it was not there.
    pub fn insert(&mut self, member: T) -> bool {
        self.insert_from(member, &mut Hint::default())
    }

    /// The same, faster for members that come in order with one hint.
    pub fn insert_from(&mut self, member: T, hint: &mut Hint) -> bool {
        hint.0 = self.find(&member, hint.0);
        let at = hint.0;
        let last = at + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.firsts.push(member);
            self.chunks.push(vec![member]);
            self.count += 1;
            return true;
        };
        let Err(place) = chunk.binary_search(&member) else { return false };
        self.count += 1;
        if chunk.len() < CHUNK {
            chunk.insert(place, member);
            self.firsts[at] = chunk[0];
            return true;
        }
        // What comes in order fills its chunks.
        let mut upper = if last && place == CHUNK { Vec::new() } else { chunk.split_off(CHUNK / 2) };
        match place.checked_sub(chunk.len()) {
            Some(place) => upper.insert(place, member),
            None => chunk.insert(place, member),
        }
        self.firsts[at] = chunk[0];
        self.firsts.insert(at + 1, upper[0]);
        self.chunks.insert(at + 1, upper);
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, member: &T) -> bool {
        let at = self.find(member, 0);
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        let Ok(place) = chunk.binary_search(member) else { return false };
        chunk.remove(place);
        self.count -= 1;
        match chunk.first() {
            Some(first) => self.firsts[at] = *first,
            None => {
                self.firsts.remove(at);
                self.chunks.remove(at);
            }
        }
        true
    }

    /// Takes the last members out, `count` or all there are, in order.
    pub fn pop(&mut self, count: usize) -> Vec<T> {
        let mut popped = Vec::new();
        while popped.len() < count
            && let Some(chunk) = self.chunks.last_mut()
        {
            let keep = chunk.len().saturating_sub(count - popped.len());
            popped.extend(chunk.drain(keep..).rev());
            if keep == 0 {
                self.chunks.pop();
                self.firsts.pop();
            }
        }
        self.count -= popped.len();
        popped.reverse();
        popped
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.chunks.iter().flatten().copied()
    }

    /// Those from the first to the last of a range.
    pub fn range(&self, range: RangeInclusive<T>) -> impl Iterator<Item = T> + '_ {
        let (first, last) = range.into_inner();
        let from = self.firsts.partition_point(|member| *member <= first).saturating_sub(1);
        let members = self.chunks[from.min(self.chunks.len())..].iter().flatten().copied();
        members.skip_while(move |member| *member < first).take_while(move |member| *member <= last)
    }

    /// The member with that many before it.
    pub fn nth(&self, mut index: usize) -> Option<T> {
        for chunk in &self.chunks {
            match index.checked_sub(chunk.len()) {
                Some(rest) => index = rest,
                None => return chunk.get(index).copied(),
            }
        }
        None
    }

    /// Gives back the room that members would be inserted into.
    pub fn shrink(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        let mut packed: Vec<Vec<T>> = Vec::with_capacity(self.count.div_ceil(CHUNK));
        for chunk in chunks {
            for member in chunk {
                match packed.last_mut().filter(|last| last.len() < CHUNK) {
                    Some(last) => last.push(member),
                    None => {
                        let mut next = Vec::with_capacity(CHUNK);
                        next.push(member);
                        packed.push(next);
                    }
                }
            }
        }
        if let Some(last) = packed.last_mut() {
            last.shrink_to_fit();
        }
        self.firsts = packed.iter().map(|chunk| chunk[0]).collect();
        self.chunks = packed;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Numbers that look random, each once.
    fn scattered(count: u32) -> Vec<u32> {
        (0..count).map(|number| number.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995).collect()
    }

    fn of(numbers: &[u32]) -> Sorted<u32> {
        let mut sorted = Sorted::new();
        assert!(numbers.iter().all(|number| sorted.insert(*number)));
        sorted
    }

    #[test]
    fn it_is_a_set_whatever_the_order_in_which_members_come() {
        let scattered = scattered(20_000);
        let rising: Vec<u32> = (0..20_000).collect();
        let falling: Vec<u32> = (0..20_000).rev().collect();
        for numbers in [scattered, rising, falling] {
            let (mut sorted, set) = (of(&numbers), BTreeSet::from_iter(numbers.iter().copied()));
            assert!(!sorted.insert(numbers[7]), "each once");
            for shrunk in [false, true] {
                assert!(sorted.iter().eq(set.iter().copied()), "shrunk: {shrunk}");
                assert_eq!(sorted.len(), set.len());
                for number in [0, 1, numbers[9], numbers[9].wrapping_add(1), u32::MAX] {
                    assert_eq!(
                        sorted.contains(&number, &mut Hint::default()),
                        set.contains(&number),
                        "{number}"
                    );
                    let (low, high) = (number.saturating_sub(5_000), number.saturating_add(900_000));
                    assert!(sorted.range(low..=high).eq(set.range(low..=high).copied()), "{number}");
                }
                let mut hint = Hint::default();
                for number in set.iter().flat_map(|number| [*number, number.wrapping_add(1)]).chain([3, 0]) {
                    assert_eq!(sorted.contains(&number, &mut hint), set.contains(&number), "{number}");
                }
                for index in [0, 511, 512, 19_999, 20_000] {
                    assert_eq!(sorted.nth(index), set.iter().nth(index).copied(), "{index}");
                }
                sorted.shrink();
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_chunks() {
        let sorted = of(&(0..5_120).collect::<Vec<_>>());
        assert_eq!(sorted.chunks.len(), 10);
    }

    #[test]
    fn the_last_members_are_taken_out_in_order() {
        let mut sorted = of(&scattered(2_000));
        let all: Vec<u32> = sorted.iter().collect();
        assert_eq!(sorted.pop(700), all[1_300..]);
        assert_eq!(sorted.len(), 1_300);
        let has = |member| sorted.contains(member, &mut Hint::default());
        assert!(!has(&all[1_300]) && has(&all[1_299]));
        assert!(sorted.insert(all[1_900]));
        assert_eq!(sorted.pop(5_000).len(), 1_301);
        assert!(sorted.len() == 0 && sorted.insert(3), "it goes on");
    }

    #[test]
    fn pieces_in_order_are_inserted_as_one_by_one_and_what_is_removed_is_gone() {
        let numbers = scattered(20_000);
        let mut sorted = Sorted::new();
        for piece in numbers.chunks(3_000) {
            let mut piece = piece.to_vec();
            piece.sort_unstable();
            let mut hint = Hint::default();
            assert!(piece.iter().all(|number| sorted.insert_from(*number, &mut hint)));
            assert!(!piece.iter().rev().any(|number| sorted.insert_from(*number, &mut hint)));
        }
        let mut set = BTreeSet::from_iter(numbers.iter().copied());
        assert!(sorted.iter().eq(set.iter().copied()));
        for number in numbers.iter().skip(900) {
            assert!(set.remove(number) && sorted.remove(number) && !sorted.remove(number));
        }
        assert!(sorted.iter().eq(set.iter().copied()));
        assert_eq!(sorted.firsts.len(), sorted.chunks.len());
        assert!(sorted.firsts.iter().eq(sorted.chunks.iter().filter_map(|chunk| chunk.first())));
    }

    #[test]
    fn nothing_is_in_an_empty_one() {
        let mut sorted = Sorted::<u32>::new();
        sorted.shrink();
        assert!(!sorted.contains(&0, &mut Hint::default()) && sorted.range(0..=u32::MAX).next().is_none());
        assert_eq!((sorted.nth(0), sorted.pop(3)), (None, Vec::new()));
    }
}
