//! What is in a file.

mod checkpoint;
mod embedding;
mod kinds;
mod row;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use serde::Serialize;

pub use checkpoint::{Contents, Count, Row};
pub use embedding::Embeddings;
pub use row::AdapterRow;

use super::{ApplyError, Leftover, Survey};
use crate::{Checkpoint, Embedding, FileError};

/// What a file is. As JSON: the fields of the variant, and `kind`.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inspection {
    /// An adapter.
    Adapter(Box<Adapters>),
    /// Tokens that a text encoder has learnt.
    Embedding(Box<Embeddings>),
    /// Tensors of something else, such as a whole model.
    Checkpoint(Box<Contents>),
}

/// The adapters of a file.
#[derive(Debug, Serialize)]
pub struct Adapters {
    /// The file.
    #[serde(serialize_with = "crate::lossy::path")]
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How it spells its names: `lycoris`, `kohya`, `diffusers` or `peft`.
    pub dialect: &'static str,
    /// One for each parameter that is adapted.
    pub adapters: Vec<AdapterRow>,
    /// Number of modules.
    pub modules: usize,
    /// Trained values of all.
    pub parameters: usize,
    /// Frobenius norm of all updates together; none if there is none, or one could not be computed.
    pub norm: Option<f64>,
    /// Embeddings that are bundled with it.
    pub embeddings: Vec<Embedding>,
    /// Modules and tensors that are not understood, or do not fit the base.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Says what is in a file; with `base`, also of algorithms whose update depends on the base weight.
/// `progress` is told each module and how many there are.
///
/// # Errors
/// When a file cannot be read, or a module contradicts itself or the base.
pub fn inspect(
    path: &Path,
    base: Option<&Path>,
    registry: &Registry,
    device: &Device,
    progress: impl Fn(&str, usize),
) -> Result<Inspection, ApplyError> {
    let survey = Survey { path, base, registry, device, dtype: DType::F32 };
    let mut rows = Vec::new();
    let overview = survey.run(progress, |it, held| {
        rows.push(AdapterRow::of(it.module, held, it.tensors, it.dtype));
        Ok::<_, ApplyError>(())
    });
    let overview = match overview {
        Err(ApplyError::File(FileError::NoAdapter { reason, .. })) => {
            let file = Checkpoint::open(path)?;
            return Ok(match Embeddings::of(&file)? {
                Some(embeddings) => Inspection::Embedding(Box::new(embeddings)),
                None => Inspection::Checkpoint(Box::new(Contents::of(&file, reason))),
            });
        }
        overview => overview?,
    };
    let squares = rows.iter().map(|row| row.norm.map(|norm| norm * norm));
    let norm = squares.sum::<Option<f64>>().filter(|_| !rows.is_empty());
    Ok(Inspection::Adapter(Box::new(Adapters {
        file: path.into(),
        bytes: overview.bytes,
        dialect: overview.dialect,
        modules: overview.modules,
        parameters: rows.iter().map(|row| row.parameters).sum(),
        norm: norm.map(f64::sqrt),
        adapters: rows,
        embeddings: overview.embeddings,
        leftovers: overview.leftovers,
        notes: overview.notes,
        metadata: overview.metadata,
    })))
}
