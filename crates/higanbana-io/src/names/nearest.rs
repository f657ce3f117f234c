//! The most similar names, for messages about one that is unknown.

/// The `count` candidates with the smallest edit distance to `name`, the nearest first.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let mut best: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        let worst = if best.len() < count { usize::MAX } else { best[count - 1].0 };
        // The distance is at least the difference in length.
        if candidate.len().abs_diff(name.len()) >= worst {
            continue;
        }
        best.push((distance(name.as_bytes(), candidate.as_bytes()), candidate));
        best.sort();
        best.truncate(count);
    }
    best.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Levenshtein's distance: insertions, deletions and replacements that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_by_hand() {
        for (a, b, d) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("to_q", "to_k", 1), ("a", "a", 0)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), d);
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), d);
        }
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["conv_out", "conv_on", "something_longer", "conv_in"];
        assert_eq!(nearest("conv_i", names.into_iter(), 3), ["conv_in", "conv_on", "conv_out"]);
    }
}
