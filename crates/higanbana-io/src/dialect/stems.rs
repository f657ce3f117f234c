//! The tensor names that adapters have, as the registry of algorithms lists them.

use std::collections::BTreeSet;

/// The known tensor names of a module: key stems (`lora_up`) of every algorithm.
#[derive(Debug, Clone)]
pub struct Stems(BTreeSet<String>);

impl Stems {
    /// From the algorithms' key stems, with or without `.weight`. What belongs to no algorithm of
    /// its own, `alpha`, is always among them.
    pub fn new<S: AsRef<str>>(stems: impl IntoIterator<Item = S>) -> Self {
        let bare = |stem: S| match stem.as_ref().strip_suffix(".weight") {
            Some(bare) => bare.to_string(),
            None => stem.as_ref().to_string(),
        };
        let mut stems: BTreeSet<String> = stems.into_iter().map(bare).collect();
        stems.insert("alpha".into());
        Self(stems)
    }

    /// Splits `key` before a known tensor name, at the first dot where that can be done. Flattened
    /// module names hold no dot, dotted ones end where a tensor's name begins.
    pub(super) fn split<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        key.match_indices('.')
            .map(|(dot, _)| (&key[..dot], &key[dot + 1..]))
            .find(|(module, suffix)| !module.is_empty() && self.know(suffix))
    }

    fn know(&self, suffix: &str) -> bool {
        self.0.contains(suffix.strip_suffix(".weight").unwrap_or(suffix))
    }
}
