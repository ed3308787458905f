//! Which settings hold secrets, by their names and by their places, whatever wrote them down.
//!
//! A name is enough: a setting that this release does not know, or a header field, is hidden when it is called like a
//! secret. What leads to a secret (`${VARIABLE}`, `file:`, `cred:`) is none.

/// What the names of settings with secrets have in them.
const WORDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "token",
    "credential",
    "authorization",
    "cookie",
    "api-key",
    "api_key",
    "apikey",
];

/// What the names of header fields with secrets have in them beside that.
const FIELD_WORDS: &[&str] = &["auth", "key"];

/// Whether a setting of this name usually holds what nobody else should know.
pub fn name_tells(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a header field of this name usually holds what nobody else should know.
pub fn field_tells(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    name_tells(name) || FIELD_WORDS.iter().any(|word| lower.contains(word))
}

/// Whether a literal text is a secret by where it stands: the section, and the keys from there, without a table's name.
pub fn hides(section: &str, keys: &[&str], text: &str) -> bool {
    if text.starts_with("file:") || text.starts_with("cred:") {
        return false;
    }
    match (section, keys) {
        // Where a key stands in a request, and what is known of a key beside its hash.
        ("auth", ["api-key"] | ["keys", _, "consumer" | "expires" | "addresses"]) => false,
        ("auth", ["keys", ..]) => !is_public(text),
        // A user and a password may stand in a URL.
        ("sink", ["http" | "splunk" | "otlp"]) => text.contains('@'),
        // So may a key, in its query.
        ("list", ["url"]) => text.contains(['@', '?']),
        ("sink" | "list", ["headers", _, ..]) => true,
        ("route", ["upstream-headers", field, ..]) => field_tells(field),
        _ => keys.iter().any(|key| name_tells(key)),
    }
}

/// Whether keys are a URL without a password, or public.
fn is_public(text: &str) -> bool {
    let text = text.trim_start();
    if text.starts_with("https://") || text.starts_with("http://") {
        return !text.contains('@');
    }
    let is_pem = text.starts_with("-----BEGIN PUBLIC KEY") || text.starts_with("-----BEGIN RSA PUBLIC KEY");
    (is_pem && !text.contains("PRIVATE KEY")) || is_public_jwk(text)
}

/// One JWK or a JWKS without a symmetric or private key (RFC 7518 §6).
fn is_public_jwk(text: &str) -> bool {
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else { return false };
    let one = std::slice::from_ref(&json);
    let keys = json.get("keys").and_then(serde_json::Value::as_array).map_or(one, Vec::as_slice);
    let is_public = |key: &serde_json::Value| {
        matches!(key.get("kty").and_then(serde_json::Value::as_str), Some("RSA" | "EC" | "OKP"))
            && ["d", "k", "p", "q"].iter().all(|part| key.get(part).is_none())
    };
    keys.iter().all(is_public)
}

/// From which byte on a line that is not valid TOML is hidden: behind the first name on it that tells, or behind any
/// name in a table of secrets. `header` is the table that it stands in, as `auth.a.keys`.
pub fn hidden_from(header: &str, line: &str) -> Option<usize> {
    let header = header.to_ascii_lowercase();
    let lower = line.to_ascii_lowercase();
    let parts: Vec<&str> = header.split('.').map(|part| part.trim().trim_matches(['"', '\''])).collect();
    let is_field = parts.iter().any(|part| matches!(*part, "headers" | "upstream-headers"));
    let is_all = match parts.as_slice() {
        ["auth", .., "keys"] | ["auth", _, "keys", ..] | ["sink" | "list", .., "headers"] => true,
        parts => parts.iter().skip(2).any(|part| name_tells(part)),
    };
    let fields = FIELD_WORDS.iter().filter(|_| is_field);
    let place: &[&str] = match parts[0] {
        "sink" | "list" => &["headers"],
        "auth" => &["keys"],
        _ if lower.contains("auth") => &["keys"],
        _ => &[],
    };
    let words = WORDS.iter().chain(fields).chain(place);
    let word = words.filter_map(|word| Some(lower.find(word)? + word.len())).min();
    let behind = if is_all { Some(line.len() - line.trim_start().len()) } else { word }?;
    let is_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'"' | b'\'');
    let rest = &line.as_bytes()[behind..];
    let name = rest.iter().take_while(|byte| is_name(byte)).count();
    let equals = name + rest[name..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    Some(if rest.get(equals) == Some(&b'=') { behind + equals + 1 } else { behind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_place_and_by_name() {
        for (section, keys, text, hidden) in [
            ("auth", &["api-key"][..], "X-API-Key", false),
            ("auth", &["keys"], "https://i/jwks", false),
            ("auth", &["keys"], "https://u:p@i/jwks", true),
            ("auth", &["keys"], r#"{"kty":"EC","x":"a","y":"b"}"#, false),
            ("auth", &["keys"], r#"{"kty":"EC","x":"a","d":"b"}"#, true),
            ("auth", &["keys"], r#"{"keys":[{"kty":"RSA"},{"kty":"oct","k":"b"}]}"#, true),
            ("auth", &["keys", "p"], "sha256:00", true),
            ("auth", &["keys", "p", "hash"], "sha256:00", true),
            ("auth", &["keys", "p", "consumer"], "shop", false),
            ("auth", &["keys", "p"], "file:/k", false),
            ("identity", &["secret"], "hush", true),
            ("sink", &["headers", "X-Scope"], "hush", true),
            ("sink", &["http"], "https://logs.example.com/", false),
            ("route", &["upstream-headers", "X-Api-Key"], "hush", true),
            ("route", &["upstream-headers", "X-User"], "{id}", false),
            ("future", &["client-secret", "deep"], "hush", true),
        ] {
            assert_eq!(hides(section, keys, text), hidden, "{section} {keys:?} {text}");
        }
    }

    #[test]
    fn of_a_broken_line_what_follows_a_telling_name_is_hidden() {
        for (header, line, shown) in [
            ("sink.a", "token = hush", Some("token =")),
            ("sink.a", "token hush", Some("token")),
            ("sink.a", "token aHVzaA==", Some("token")),
            ("sink.a", "headers = { X-Scope = hush }", Some("headers =")),
            ("future", "x = { client-token = hush }", Some("x = { client-token =")),
            ("sink.a.headers", "X-Scope = hush", Some("X-Scope =")),
            ("auth.a", "keys = hush", Some("keys =")),
            ("auth.a.keys", "p = hush", Some("p =")),
            ("", "auth.a.keys.p = hush", Some("auth.a.keys.p =")),
            ("listen.a", "address = hush", None),
        ] {
            assert_eq!(hidden_from(header, line).map(|from| &line[..from]), shown, "{line}");
        }
    }
}
