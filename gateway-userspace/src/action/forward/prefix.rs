//! A prefix that the upstream does not know of, and its way back.
//!
//! An upstream behind `replace-prefix` speaks of its own paths in redirects and cookies. What it says of a path under
//! the replacement is told with the prefix that the client used. Paths that have the client's prefix already are left
//! alone: some applications are told of it.

use std::borrow::Cow;

/// How the path of a request was changed on its way.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'r> {
    /// The path that the upstream is asked for, without query.
    pub path: &'r str,
    /// What the client's paths begin with: `/v1`, or nothing.
    pub prefix: &'r str,
    /// What took its place: `/`, `/api`.
    pub replacement: &'r str,
}

/// From the upstream's paths to the client's.
#[derive(Debug)]
pub(super) struct WayBack {
    prefix: Box<str>,
    replacement: Box<str>,
}

impl Mapping<'_> {
    /// What the answer needs of it.
    pub(super) fn way_back(&self) -> WayBack {
        WayBack { prefix: self.prefix.into(), replacement: self.replacement.into() }
    }
}

impl WayBack {
    /// The client's form of a path of the upstream's, with or without query and fragment; `None` when it is not one
    /// that the replacement stands before, or is the client's already.
    pub(super) fn back(&self, target: &str) -> Option<String> {
        let end = target.find(['?', '#']).unwrap_or(target.len());
        let (path, rest) = target.split_at(end);
        if !self.prefix.is_empty() && under(path, &self.prefix).is_some() {
            return None;
        }
        let below = under(path, self.replacement.trim_end_matches('/'))?;
        if self.prefix.is_empty() && below.starts_with("//") {
            // It would name another host (RFC 3986 §4.2).
            return None;
        }
        let path: Cow<'_, str> = match (&*self.prefix, below) {
            ("", "") => Cow::Borrowed("/"),
            (prefix, below) => Cow::Owned([prefix, below].concat()),
        };
        Some(format!("{path}{rest}"))
    }

    /// The same for the `Path` of a cookie: the upstream's root becomes the prefix itself, without a slash after it,
    /// which matches that path and all below it (RFC 6265 §5.1.4).
    pub(super) fn cookie_path(&self, path: &str) -> Option<String> {
        let mapped = self.back(path)?;
        match mapped.strip_suffix('/') {
            Some(prefix) if prefix == &*self.prefix && !prefix.is_empty() => Some(prefix.to_owned()),
            _ => Some(mapped),
        }
    }
}

/// What follows `prefix` in whole segments: `/x` of `/api/x` for `/api`, nothing of `/api`, no answer for `/apix`.
fn under<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|below| below.is_empty() || below.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::{Mapping, WayBack};

    fn mapping(prefix: &str, replacement: &str) -> WayBack {
        Mapping { path: "/", prefix, replacement }.way_back()
    }

    #[test]
    fn a_path_gets_back_what_was_taken_from_it() {
        for (prefix, replacement, said, told) in [
            ("/v1", "/", "/landing", Some("/v1/landing")),
            ("/v1", "/", "/landing?next=/x#y", Some("/v1/landing?next=/x#y")),
            ("/v1", "/", "/", Some("/v1/")),
            ("/v1", "/", "", Some("/v1")),
            ("/v1", "/", "?a=1", Some("/v1?a=1")),
            ("/v1", "/api", "/api/landing", Some("/v1/landing")),
            ("/v1", "/api/", "/api", Some("/v1")),
            ("", "/api", "/api/landing", Some("/landing")),
            ("", "/api", "/api", Some("/")),
            ("", "/api", "/api//elsewhere.example/", None),
            ("/v1", "/api", "/apix", None),
            ("/v1", "/api", "/other", None),
            ("/v1", "/", "/v1/landing", None),
            ("/v1", "/", "/v10/landing", Some("/v1/v10/landing")),
            ("/v1", "/", "relative", None),
        ] {
            assert_eq!(
                mapping(prefix, replacement).back(said).as_deref(),
                told,
                "{prefix} {replacement} {said}"
            );
        }
    }

    #[test]
    fn a_cookie_of_the_root_becomes_one_of_the_prefix() {
        for (said, told) in [("/", Some("/v1")), ("/account", Some("/v1/account")), ("/v1", None)] {
            assert_eq!(mapping("/v1", "/").cookie_path(said).as_deref(), told, "{said}");
        }
        assert_eq!(mapping("", "/api").cookie_path("/api/").as_deref(), Some("/"));
    }
}
