//! What was probably meant by a misspelt word.

/// The expected word that is closest to `word`, if one is close.
pub(crate) fn nearest<'a>(word: &str, expected: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    expected
        .iter()
        .map(|candidate| {
            (
                distance(&lower, &candidate.to_ascii_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, candidate)| {
            let shorter = candidate.len().min(word.len());
            let begins_alike = 4 <= shorter && word.as_bytes()[..4] == candidate.as_bytes()[..4];
            *distance
                <= if begins_alike {
                    3
                } else {
                    shorter.div_ceil(2).min(2)
                }
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance; `usize::MAX` for words too long to be a slip.
fn distance(a: &str, b: &str) -> usize {
    if 64 < a.len() {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
