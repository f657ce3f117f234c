//! What is in a file of embeddings.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use crate::{Checkpoint, Embedding, FileError};

/// The embeddings of a file that holds nothing else.
#[derive(Debug, Serialize)]
pub struct Embeddings {
    /// The file.
    #[serde(serialize_with = "crate::lossy::path")]
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// One for each token and text encoder.
    pub embeddings: Vec<Embedding>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Embeddings {
    /// Those of this file, if it is one of embeddings. No tensor is read.
    pub(super) fn of(file: &Checkpoint) -> Result<Option<Self>, FileError> {
        let embeddings = Embedding::all(file)?;
        Ok((!embeddings.is_empty()).then(|| Self {
            file: file.path().into(),
            bytes: file.total_bytes(),
            embeddings,
            metadata: file.metadata().clone(),
        }))
    }
}
