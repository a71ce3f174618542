//! What somebody probably meant: the nearest of the words that would have been right.

/// More edits than this are another word, not a slip.
const MOST_EDITS: usize = 2;

/// The candidate that `word` is a slip of: the one with the fewest edits, whatever the case of its letters.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= MOST_EDITS && *edits < candidate.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Insertions, deletions and replacements that make one word of the other; letters of either case are equal.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    // Longer words cannot be near, and hostile ones would cost their length squared.
    if left.len() > 4 * (right.len() + MOST_EDITS) {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest() {
        let names = ["COPY", "CMD", "ENV", "EXPOSE", "FROM", "RUN"];
        for (word, wanted) in [
            ("COPPY", Some("COPY")),
            ("copyy", Some("COPY")),
            ("FORM", Some("FROM")),
            ("rum", Some("RUN")),
            ("XEPOSE", Some("EXPOSE")),
            ("SOMETHING", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names).as_deref(), wanted, "{word}");
        }
    }
}
