//! Sets of request methods.

/// The methods that most requests use, each a bit of [`Methods::known`].
const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];

/// Which methods a pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Methods {
    known: u16,
    other: Box<[Box<str>]>,
}

/// How well a set fits a method, better last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// The set takes every method.
    Any,
    /// `HEAD` where the set names `GET`: a HEAD is a GET without the body (RFC 9110 §9.3.2).
    Implied,
    /// The set names the method.
    Named,
}

impl Methods {
    /// A set from its names; none at all stands for every method.
    pub(super) fn new(names: &[Box<str>]) -> Methods {
        let known = names.iter().filter_map(|name| bit(name)).fold(0, |bits, bit| bits | bit);
        let other = names.iter().filter(|name| bit(name).is_none()).cloned().collect();
        Methods { known, other }
    }

    /// Whether, and how well, a method is in the set. Methods are case-sensitive (RFC 9110 §9.1).
    pub(super) fn fit(&self, method: &str) -> Option<Fit> {
        if self.is_any() {
            return Some(Fit::Any);
        }
        let named = match bit(method) {
            Some(bit) => self.known & bit != 0,
            None => self.other.iter().any(|name| **name == *method),
        };
        if named {
            return Some(Fit::Named);
        }
        (method == "HEAD" && self.names_get()).then_some(Fit::Implied)
    }

    /// Whether both sets name a method, or both take all: then nothing decides between them.
    pub(super) fn overlaps(&self, other: &Methods) -> bool {
        (self.is_any() && other.is_any())
            || self.known & other.known != 0
            || self.other.iter().any(|name| other.other.contains(name))
    }

    /// The methods of the set for an `Allow` field, the implied `HEAD` included.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let implied = if self.names_get() { HEAD_BIT } else { 0 };
        let known = self.known | implied;
        let known =
            KNOWN.iter().enumerate().filter_map(move |(i, name)| (known & 1 << i != 0).then_some(*name));
        known.chain(self.other.iter().map(|name| &**name))
    }

    fn is_any(&self) -> bool {
        self.known == 0 && self.other.is_empty()
    }

    fn names_get(&self) -> bool {
        self.known & GET_BIT != 0
    }
}

const GET_BIT: u16 = 1;
const HEAD_BIT: u16 = 1 << 1;

fn bit(method: &str) -> Option<u16> {
    KNOWN.iter().position(|known| *known == method).map(|i| 1 << i)
}

#[cfg(test)]
mod tests {
    use super::{Fit, Methods};

    fn methods(names: &[&str]) -> Methods {
        Methods::new(&names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>())
    }

    #[test]
    fn a_named_method_fits_better_than_an_implied_one_and_that_better_than_any() {
        assert_eq!(methods(&["GET", "PURGE"]).fit("GET"), Some(Fit::Named));
        assert_eq!(methods(&["GET", "PURGE"]).fit("PURGE"), Some(Fit::Named));
        assert_eq!(methods(&["GET"]).fit("HEAD"), Some(Fit::Implied));
        assert_eq!(methods(&[]).fit("BREW"), Some(Fit::Any));
        assert_eq!(methods(&["POST"]).fit("HEAD"), None);
        assert_eq!(methods(&["GET"]).fit("get"), None);
        assert!(Fit::Named > Fit::Implied && Fit::Implied > Fit::Any);
    }

    #[test]
    fn sets_overlap_only_when_nothing_decides_between_them() {
        assert!(methods(&[]).overlaps(&methods(&[])));
        assert!(methods(&["GET", "POST"]).overlaps(&methods(&["POST"])));
        assert!(methods(&["PURGE"]).overlaps(&methods(&["PURGE"])));
        assert!(!methods(&[]).overlaps(&methods(&["GET"])));
        assert!(!methods(&["HEAD"]).overlaps(&methods(&["GET"])));
    }

    #[test]
    fn allow_lists_the_head_that_a_get_implies() {
        let names = |set: Methods| set.names().map(str::to_owned).collect::<Vec<_>>().join(", ");
        assert_eq!(names(methods(&["PURGE", "POST", "GET"])), "GET, HEAD, POST, PURGE");
    }
}
