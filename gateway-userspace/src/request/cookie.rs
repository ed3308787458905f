//! The pairs of a `Cookie` field (RFC 6265 §4.2.1), as bytes: values may hold what is not text.

/// The values of the cookies of this name in one field value, in order.
pub(super) fn values<'f>(line: &'f [u8], name: &str) -> impl Iterator<Item = &'f [u8]> {
    line.split(|byte| *byte == b';').filter_map(move |pair| {
        let (key, value) = split(pair)?;
        (key == name.as_bytes()).then_some(value)
    })
}

/// The field value without the cookies of this name; `None` when it has none, empty when it has no other.
pub(super) fn without(line: &[u8], name: &str) -> Option<Vec<u8>> {
    values(line, name).next()?;
    let is_other = |pair: &&[u8]| split(pair).is_none_or(|(key, _)| key != name.as_bytes());
    let others: Vec<&[u8]> =
        line.split(|byte| *byte == b';').filter(is_other).map(<[u8]>::trim_ascii).collect();
    Some(others.join(b"; ".as_slice()))
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::{values, without};

    #[test]
    fn values_are_found_by_name() {
        let found: Vec<_> = values(b"a=1; key=x=y;key = z ;akey=no; key", "key").collect();
        assert_eq!(found, [b"x=y".as_slice(), b"z"]);
    }

    #[test]
    fn a_cookie_goes_and_the_others_stay() {
        for (line, expected) in [
            (&b"key=1"[..], Some(&b""[..])),
            (b"a=1; key=2; b=\xff", Some(b"a=1; b=\xff")),
            (b"a=1;key=2;b", Some(b"a=1; b")),
            (b"akey=1; key", None),
        ] {
            assert_eq!(without(line, "key").as_deref(), expected, "{line:?}");
        }
    }
}
