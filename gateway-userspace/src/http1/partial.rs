//! A head that comes in pieces.

use bytes::{Bytes, BytesMut};

/// What has come of a head that is not whole yet. Not looked through anew with each piece.
#[derive(Debug, Default)]
pub struct Partial(BytesMut);

impl Partial {
    /// Everything that has come, with these bytes, if a head may end in it now. Otherwise it is kept.
    pub fn add(&mut self, came: Bytes) -> Option<Bytes> {
        let before = self.0.len();
        if before == 0 {
            return Some(came);
        }
        self.0.extend_from_slice(&came);
        may_end(&self.0, before).then(|| std::mem::take(&mut self.0).freeze())
    }

    /// Keeps what [`Partial::add`] gave, or the end of it: it was not a whole head.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether there is an empty line in what came after the first `before` bytes.
fn may_end(bytes: &[u8], before: usize) -> bool {
    let start = before.saturating_sub(2);
    memchr::memchr_iter(b'\n', &bytes[start..])
        .any(|at| matches!(bytes[start + at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_noticed_however_it_is_cut() {
        for head in [&b"GET / HTTP/1.1\r\na: b\r\n\r\nrest"[..], b"a\n\nrest", b"a\r\n\nrest", b"a\n\r\nrest"]
        {
            let end = head.len() - b"rest".len();
            for before in 0..head.len() {
                for after in before + 1..=head.len() {
                    let expected = before < end && after >= end;
                    let found = may_end(&head[..after], before);
                    // Once more after the end does no harm.
                    assert!(found >= expected, "{before} to {after} of {}", head.escape_ascii());
                    assert!(!found || after >= end, "{before} to {after} of {}", head.escape_ascii());
                }
            }
        }
    }
}
