//! The most similar names, for messages about one that is unknown.

use super::{FoundSite, InjectError, Pattern};

/// Number of similar names that a message lists.
pub(super) const SHOWN: usize = 3;

/// The `count` candidates with the smallest edit distance to `name`, each once, the nearest first.
pub fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(count).map(|(_, candidate)| candidate.into()).collect()
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

pub(super) fn unmatched_path(
    what: &'static str,
    pattern: &Pattern,
    found: &[FoundSite],
) -> InjectError {
    let paths = || found.iter().map(|f| f.site.path.as_str());
    let above = |path: &str| path.match_indices('.').any(|(dot, _)| pattern.matches(&path[..dot]));
    if paths().any(above) {
        return InjectError::NotALayer {
            pattern: pattern.as_str().into(),
            inside: pattern.inside(),
        };
    }
    // A pattern for any depth is compared with as many names from the end as it has itself.
    let nearest = match pattern.as_str().strip_prefix("**.") {
        Some(tail) => {
            let tails = paths().map(|path| last_names(path, tail.matches('.').count() + 1));
            nearest(tail, tails, SHOWN).into_iter().map(|tail| format!("**.{tail}")).collect()
        }
        None => nearest(pattern.as_str().trim_start_matches("re:"), paths(), SHOWN),
    };
    InjectError::Unmatched { what, name: pattern.as_str().into(), nearest }
}

fn last_names(path: &str, count: usize) -> &str {
    match path.rmatch_indices('.').nth(count - 1) {
        Some((dot, _)) => &path[dot + 1..],
        None => path,
    }
}

pub(super) fn unmatched_class(class: &str, found: &[FoundSite]) -> InjectError {
    let classes = found.iter().flat_map(|f| f.classes()).map(String::as_str);
    let nearest = nearest(class, classes, SHOWN);
    InjectError::Unmatched { what: "class", name: class.into(), nearest }
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
        }
    }

    #[test]
    fn the_nearest_come_first_and_once() {
        let names = ["conv_out", "conv_on", "something_longer", "conv_in", "conv_in"];
        assert_eq!(nearest("conv_i", names, 3), ["conv_in", "conv_on", "conv_out"]);
    }
}
