//! The nearest of some names to one that is not among them.

/// The candidate that was probably meant: at most a third of the letters differ, transpositions counting once.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_a_different_word_is_not() {
        let keys = ["rate", "burst", "by"];
        assert_eq!(nearest("brust", keys), Some("burst"));
        assert_eq!(nearest("rates", keys), Some("rate"));
        assert_eq!(nearest("algorithm", keys), None);
        assert_eq!(nearest("zz", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
