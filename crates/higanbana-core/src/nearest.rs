//! The most similar names, for messages about one that is unknown.

/// The `count` candidates with the smallest edit distance to `name`, each once, the nearest first.
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let mut best: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        // The distance is at least the difference in length: most names need not be compared.
        let worst = if best.len() < count { usize::MAX } else { best[count - 1].0 };
        if candidate.len().abs_diff(name.len()) <= worst {
            best.push((distance(name.as_bytes(), candidate.as_bytes()), candidate));
            best.sort_unstable();
            best.dedup();
            best.truncate(count);
        }
    }
    best.into_iter().map(|(_, candidate)| candidate.into()).collect()
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
    fn the_nearest_come_first_and_once() {
        let mut names =
            ["conv_out", "conv_on", "something_longer", "conv_in", "conv_in", "conv_i_"];
        for _ in 0..names.len() {
            names.rotate_left(1);
            assert_eq!(nearest("conv_i", names, 3), ["conv_i_", "conv_in", "conv_on"], "{names:?}");
        }
    }
}
