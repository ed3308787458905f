//! The parameters of a query, in every spelling of their names.
//!
//! Upstreams decode percent-encodings in names, so `api%5Fkey` is `api_key` here too. Values are handed out as sent.

/// Names and values, as sent. A pair without `=` has an empty value.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether a name as sent spells `name`.
pub(super) fn is_named(sent: &str, name: &str) -> bool {
    sent == name || (sent.contains('%') && decoded(sent).eq(name.bytes()))
}

/// The bytes that a name or value stands for. A `%` without two digits stands for itself, and so does `+`: whether it
/// is a space is for the application to say.
pub fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let bytes = text.as_bytes();
    let mut i = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(i)?;
        let decoded = match bytes.get(i + 1..i + 3) {
            Some(hex) if byte == b'%' => super::path::decode(hex[0], hex[1]),
            _ => None,
        };
        i += if decoded.is_some() { 3 } else { 1 };
        Some(decoded.unwrap_or(byte))
    })
}

/// The query without the parameters of this name; `None` when it has none.
pub(super) fn without(query: &str, name: &str) -> Option<Box<str>> {
    let is_kept = |pair: &&str| !is_named(pair.split('=').next().unwrap_or(pair), name);
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    let kept = kept.join("&");
    (kept.len() < query.len()).then(|| kept.into())
}

#[cfg(test)]
mod tests {
    use super::{decoded, pairs, without};

    #[test]
    fn a_parameter_goes_in_every_spelling_and_the_rest_stays_as_sent() {
        for (query, expected) in [
            ("key=1", Some("")),
            ("a=1&key=2&b=%41", Some("a=1&b=%41")),
            ("key=1&a=2&key=3", Some("a=2")),
            ("k%65y=1&a", Some("a")),
            ("key&a=key", Some("a=key")),
            ("a=key&keys=1&Key=2&&", None),
            ("", None),
        ] {
            assert_eq!(without(query, "key").as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        let split: Vec<_> = pairs("a=1=2&b&=c").collect();
        assert_eq!(split, [("a", "1=2"), ("b", ""), ("", "c")]);
    }

    #[test]
    fn what_is_no_encoding_stands_for_itself() {
        assert_eq!(decoded("a%2Bb+c%zz%4").collect::<Vec<_>>(), b"a+b+c%zz%4");
    }
}
