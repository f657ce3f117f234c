//! An adapter in a dialect, before it is a file.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::TensorData;

use super::Tensors;
use crate::{FileError, names::Component, writer};

/// Modules by their new names: the old one, the model, and the tensors.
pub(super) type Renamed<'a> = BTreeMap<String, (&'a str, Component, &'a Tensors)>;

/// An adapter file ready to be written.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The tensors by their keys in the file.
    pub tensors: BTreeMap<String, TensorData>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The content of `adapter_config.json`, which PEFT wants beside the file
    /// (`adapter_model.safetensors`).
    pub adapter_config: Option<String>,
}

impl Encoded {
    /// Writes the file and, where its dialect has one, the configuration beside it: both or neither.
    ///
    /// # Errors
    /// Those of [`writer::write_tensors`].
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), FileError> {
        let write = || writer::write_tensors(path, &self.tensors, &self.metadata, overwrite);
        let Some(config) = &self.adapter_config else { return write() };
        let beside = path.with_file_name("adapter_config.json");
        let is_new = !beside.exists();
        writer::write_text(&beside, config, overwrite)?;
        write().inspect_err(|_| {
            if is_new {
                // The first failure is the one to tell of.
                let _ = std::fs::remove_file(&beside);
            }
        })
    }
}
