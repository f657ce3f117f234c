//! Tokens that texts may hold besides those of the model's vocabulary.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Recipe, read::is_name};

/// A token that captions and prompts may hold besides those of the vocabulary (textual inversion,
/// arXiv:2208.01618).
///
/// It is trained if it begins with words, or has a rate. Beside an adapter that is pivotal tuning; without one
/// the model stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The token; that of its file if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file of its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// In place of a file: words whose vectors it begins with, over and over if it has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// With words: number of its vectors; that of the words' tokens if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<usize>,
    /// Learning rate; that of [`Train`](super::Train) if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Whether the adapter's file brings it along, as LyCORIS bundles it, in place of a file of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundle: bool,
}

impl Embedding {
    /// Whether it is trained.
    pub fn is_trained(&self) -> bool {
        self.file.is_none() || self.rate.is_some()
    }

    /// The file that a training leaves of it, if it does: its name is the token, but for signs that no name may
    /// have.
    pub fn product(&self) -> Option<String> {
        let token = self.token.as_ref().filter(|_| self.is_trained() && !self.bundle)?;
        let may = |c: &char| !c.is_control() && !"/\\:*?\"<>|".contains(*c);
        Some(token.chars().filter(may).collect::<String>() + ".safetensors")
    }

    /// What is wrong with it by itself.
    fn wrong(&self) -> Option<&'static str> {
        let Self { token, file, words, vectors, .. } = self;
        match (file, words) {
            (Some(_), Some(_)) => Some("has a file and words; leave out one"),
            (None, None) => Some("begins with nothing; give words or a file"),
            (Some(_), None) if vectors.is_some() => {
                Some("has the vectors of its file; leave out vectors")
            }
            _ if token.is_none() && self.is_trained() => Some("is trained; give it a token"),
            _ => None,
        }
    }
}

impl Recipe {
    /// Whether the model itself is trained: if nothing is put into it that is.
    pub fn trains_model(&self) -> bool {
        self.adapter.is_none() && !self.embeddings.iter().any(Embedding::is_trained)
    }

    /// What is wrong with the first embedding that cannot be.
    pub(super) fn wrong_embedding(&self) -> Option<String> {
        let mut files: Vec<_> = self.adapter.iter().map(|_| self.product()).collect();
        self.embeddings.iter().enumerate().find_map(|(index, it)| {
            let file = it.product();
            let reason = it.wrong().or_else(|| {
                let name = file.as_deref().and_then(|it| it.strip_suffix(".safetensors"));
                if it.bundle && self.adapter.is_none() {
                    Some("bundle: there is no adapter to bring it along")
                } else if it.is_trained() && self.from_scratch {
                    Some("is trained, and the model is not; leave out from_scratch")
                } else if name.is_some_and(|name| !is_name(name)) {
                    Some("token: would be no name of a file")
                } else if file.as_ref().is_some_and(|file| files.contains(file)) {
                    Some("token: its file is another's; change it or name, or bundle it")
                } else {
                    None
                }
            });
            files.extend(file);
            Some(format!("embeddings.{index}: {}", reason?))
        })
    }
}
