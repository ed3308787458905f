//! Tables of spellings, and properties over random paths.

use super::{EncodedSlash, PathFault, normalise};

fn normal(raw: &str) -> Result<String, PathFault> {
    normalise(raw, EncodedSlash::Reject).map(|changed| changed.map_or_else(|| raw.to_owned(), String::from))
}

#[test]
fn a_path_in_normal_form_is_left_alone() {
    for path in [
        "/",
        "*",
        "/v1/users",
        "/v1/users/",
        "/.well-known/jwks.json",
        "/..a/...",
        "/a.b/..c",
        "/a%20b/%C3%A9",
        "/users:export/@me/a;b=c,d",
        "/%252e%252e/%25",
        "/%E9t%E9",
        "/a%3Ab",
    ] {
        assert_eq!(normalise(path, EncodedSlash::Reject), Ok(None), "{path}");
    }
}

#[test]
fn equivalent_spellings_become_one() {
    for (raw, expected) in [
        ("/%76%31/%75sers", "/v1/users"),
        ("/%7euser/%2D%5F", "/~user/-_"),
        ("/a%3ab/%c3%a9", "/a%3Ab/%C3%A9"),
        ("/é", "/%C3%A9"),
        ("/{id}|\"<>[]^`", "/%7Bid%7D%7C%22%3C%3E%5B%5D%5E%60"),
        ("//v1///users//", "/v1/users/"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/public/../admin", "/admin"),
        ("/public/%2e%2e/admin", "/admin"),
        ("/public/.%2E/admin", "/admin"),
        ("/public/%2e/admin", "/public/admin"),
        ("/a//../b", "/b"),
        ("/a/b/c/./../../g", "/a/g"),
        ("/%252E%252e/%252f", "/%252E%252e/%252f"),
    ] {
        assert_eq!(normal(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn paths_that_two_readers_may_understand_differently_are_refused() {
    for (raw, fault) in [
        ("", PathFault::NotAbsolute),
        ("v1", PathFault::NotAbsolute),
        ("**", PathFault::NotAbsolute),
        ("/%", PathFault::Percent),
        ("/%2", PathFault::Percent),
        ("/%G0", PathFault::Percent),
        ("/%+1", PathFault::Percent),
        ("/a%2", PathFault::Percent),
        ("/%00", PathFault::Character),
        ("/a%0d%0aX:y", PathFault::Character),
        ("/%7F", PathFault::Character),
        ("/a\u{0}", PathFault::Character),
        ("/a\tb", PathFault::Character),
        ("/a b", PathFault::Character),
        ("/a\\b", PathFault::Character),
        ("/..\\admin", PathFault::Character),
        ("/%5c", PathFault::Character),
        ("/..%5Cadmin", PathFault::Character),
        ("/a?b", PathFault::Character),
        ("/a#b", PathFault::Character),
        ("/a%2Fb", PathFault::Slash),
        ("/..%2fadmin", PathFault::Slash),
        ("/..", PathFault::AboveRoot),
        ("/../admin", PathFault::AboveRoot),
        ("/a/../../b", PathFault::AboveRoot),
        ("/%2e%2e/", PathFault::AboveRoot),
        ("//..", PathFault::AboveRoot),
        ("/public/..;/admin", PathFault::DisguisedDots),
        ("/public/..;x=1/admin", PathFault::DisguisedDots),
        ("/public/%2e%2e;/admin", PathFault::DisguisedDots),
        ("/public/..%3b/admin", PathFault::DisguisedDots),
        ("/public/.;/admin", PathFault::DisguisedDots),
        ("/;/admin", PathFault::DisguisedDots),
        ("/;x=y/admin", PathFault::DisguisedDots),
        ("/%3B/admin", PathFault::DisguisedDots),
        ("/%C0%AE%C0%AE/", PathFault::Overlong),
        ("/%c0%af", PathFault::Overlong),
        ("/%C1%9C", PathFault::Overlong),
        ("/%E0%80%AF", PathFault::Overlong),
        ("/%F0%80%80%AF", PathFault::Overlong),
        ("/%F8%80%80%80%AF", PathFault::Overlong),
    ] {
        assert_eq!(normal(raw), Err(fault), "{raw:?}");
    }
}

#[test]
fn a_kept_encoded_slash_stays_inside_its_segment_and_hides_no_dots() {
    let keep = |raw| normalise(raw, EncodedSlash::Keep);
    assert_eq!(keep("/group%2Fproject/x"), Ok(None));
    assert_eq!(keep("/group%2fproject"), Ok(Some("/group%2Fproject".into())));
    assert_eq!(keep("/a%2Fb/../c"), Ok(Some("/c".into())));
    for raw in ["/..%2fadmin", "/a%2F..", "/a%2f%2e%2e%2fb", "/a%2F.", "/a%2F;x"] {
        assert_eq!(keep(raw), Err(PathFault::DisguisedDots), "{raw}");
    }
}

/// Strings over the pieces that matter, by a fixed xorshift sequence.
fn random_paths(count: usize) -> impl Iterator<Item = String> {
    const PIECES: [&str; 28] = [
        "/", "/", "/", ".", "..", "%2e", "%2E", "a", "B", "%41", "%2f", "%2F", ";", "%3b", "%25", "%252e",
        "%20", "%c3%a9", "é", "{", "%7b", "~", "%7E", ":", "%3A", "x=1", "%E9", "%C0",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits")
    };
    (0..count).map(move |_| {
        let mut path = String::from("/");
        for _ in 0..next() % 12 {
            path.push_str(PIECES[next() % PIECES.len()]);
        }
        path
    })
}

#[test]
fn the_normal_form_of_a_normal_form_is_itself() {
    let mut accepted = 0;
    for raw in random_paths(200_000) {
        for slash in [EncodedSlash::Reject, EncodedSlash::Keep] {
            let Ok(changed) = normalise(&raw, slash) else { continue };
            accepted += 1;
            let normal = changed.as_deref().unwrap_or(&raw);
            assert_eq!(normalise(normal, slash), Ok(None), "{raw} became {normal}");
            assert_ne!(changed.as_deref(), Some(raw.as_str()), "a copy was made for nothing");
        }
    }
    assert!(accepted > 50_000, "the generator makes enough valid paths: {accepted}");
}

#[test]
fn the_fast_pass_agrees_with_the_full_one() {
    for raw in random_paths(200_000) {
        if super::is_plainly_normal(raw.as_bytes()) {
            assert_eq!(super::rewrite(&raw, EncodedSlash::Reject).as_deref(), Ok(raw.as_str()));
        }
    }
}

#[test]
fn a_normal_form_holds_no_dots_no_empty_segments_and_no_encoded_letters() {
    for raw in random_paths(100_000) {
        let Ok(normal) = normal(&raw) else { continue };
        assert!(normal.starts_with('/') && !normal.contains("//"), "{raw} became {normal}");
        assert!(normal.split('/').all(|segment| !matches!(segment, "." | "..")), "{raw} became {normal}");
        assert!(
            !normal.contains("%41") && !normal.contains("%2E") && normal.is_ascii(),
            "{raw} became {normal}"
        );
    }
}
