//! "Did you mean …": the nearest name to one that is not known.

/// The candidate within a third of the name's length in edits, the nearest first; none if all are too far.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_finger_and_nothing_else() {
        let keys = ["listen", "public_origin", "workers", "server.tls.key"];
        for (name, expected) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("public_orgin", Some("public_origin")),
            ("server.tsl.key", Some("server.tls.key")),
            ("cache", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, keys.into_iter()), expected, "{name}");
        }
    }
}
