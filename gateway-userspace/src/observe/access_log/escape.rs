//! Making what clients send harmless: no byte of theirs ends a line, a string or a terminal's patience.

/// Writes `text` as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD. Beside what JSON asks for,
/// DEL, the C1 controls, the line separators U+2028 and U+2029 and the bidirectional overrides are escaped.
pub fn json(text: &[u8], out: &mut Vec<u8>) {
    // Nearly every text is plain, and the whole of it is looked at faster than one character after the other.
    if text.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        json_text(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Printable ASCII that stands for itself in a JSON string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    let mut plain = 0;
    for (index, character) in text.char_indices() {
        if !needs_escape(character) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..index]);
        plain = index + character.len_utf8();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u");
                let code = u32::from(other);
                out.extend([12, 8, 4, 0].map(|shift| HEX[(code >> shift & 15) as usize]));
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// All of these are below U+10000, so that one `\u` is enough.
fn needs_escape(character: char) -> bool {
    match character {
        '"' | '\\' => true,
        ' '..='~' => false,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// Writes `text` for formats that are not JSON, as NGINX does: `"`, `\`, controls and bytes beyond ASCII become `\xXX`.
pub fn plain(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..=31 | 127.. => {
                out.extend_from_slice(b"\\x");
                out.extend([HEX_UPPER[usize::from(byte >> 4)], HEX_UPPER[usize::from(byte & 15)]]);
            }
            byte => out.push(*byte),
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).expect("always UTF-8")
    }

    #[test]
    fn json_strings_keep_their_meaning_and_their_line() {
        let nasty: String = (0..0x3000).filter_map(char::from_u32).collect();
        let text = escaped(json, nasty.as_bytes());
        assert!(
            !text
                .chars()
                .any(|character| character.is_control() || matches!(character, '\u{2028}' | '\u{202e}'))
        );
        let back: String = serde_json::from_str(&format!("\"{text}\"")).expect("a JSON string");
        assert_eq!(back, nasty);
        assert_eq!(escaped(json, "ä\u{1f600}\u{1b}[31m".as_bytes()), "ä\u{1f600}\\u001b[31m");
        assert_eq!(escaped(json, b"a\xff\xfeb\xc3"), "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn plain_text_has_no_controls_quotes_or_foreign_bytes() {
        assert_eq!(escaped(plain, b"a \"b\"\r\n\x1b[31m\\\xff"), r"a \x22b\x22\x0D\x0A\x1B[31m\x5C\xFF");
    }
}
