//! An adapter in a dialect, before it is a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;

use super::{
    Dialect, Tensors,
    config::{METADATA, config_path},
    network,
};
use crate::{FileError, hash, sshs_model_hash, writer};

/// Modules by their new names: the old one, and the tensors.
pub(super) type Renamed<'a> = BTreeMap<String, (&'a str, &'a Tensors)>;

/// An adapter file ready to be written.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// The tensors by their keys in the file.
    pub tensors: BTreeMap<String, TensorData>,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The content of `adapter_config.json`, which PEFT wants beside the file
    /// (`adapter_model.safetensors`).
    pub adapter_config: Option<String>,
}

/// How PEFT calls its files, to which a configuration beside them belongs.
const PEFT_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

impl Encoded {
    /// With what another file said of itself, as far as it stays true: the dialect of this one multiplies
    /// alpha into a tensor or has it in its configuration.
    pub(super) fn with_metadata(mut self, metadata: &BTreeMap<String, String>) -> Self {
        let stays = |key: &str| key != METADATA && !network::is_scale(key);
        for (key, value) in metadata.iter().filter(|(key, _)| stays(key)) {
            self.metadata.entry(key.clone()).or_insert(value.clone());
        }
        self
    }

    /// Puts the hashes of these tensors in the place of those that the metadata had.
    pub(super) fn hash(&mut self, dialect: Dialect) {
        let in_file_order = writer::file_order(&self.tensors).into_iter().map(|(_, data)| data);
        let hash = sshs_model_hash(in_file_order);
        hash::renew(&mut self.metadata, &hash, dialect);
    }

    /// Writes the file and, where its dialect has one, the configuration beside it: both or neither. The
    /// configuration of another adapter, one that is called as PEFT does, stays.
    ///
    /// # Errors
    /// Those of [`writer::write_tensors`], and when the configuration there is another adapter's.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), FileError> {
        let other = |name: &&str| path.with_file_name(name).exists();
        if self.adapter_config.is_some() && !path.exists() && PEFT_FILES.iter().any(other) {
            let reason = "is of the adapter in its folder; name an output in another folder".into();
            return Err(FileError::Config { path: config_path(path), reason });
        }
        let file = self.stage(path, overwrite)?;
        let config = self
            .adapter_config
            .as_ref()
            .map(|config| writer::stage_bytes(&config_path(path), config.as_bytes(), overwrite));
        writer::commit([file].into_iter().chain(config.transpose()?).collect())
    }

    /// The file alone, up to the last step of writing it.
    ///
    /// # Errors
    /// Those of [`writer::write_tensors`].
    pub fn stage(&self, path: &Path, overwrite: bool) -> Result<writer::Output, FileError> {
        writer::stage_tensors(path, &self.tensors, &self.metadata, overwrite)
    }

    /// The files that [`Self::write`] writes.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let config = self.adapter_config.as_ref().map(|_| config_path(path));
        [path.to_path_buf()].into_iter().chain(config).collect()
    }
}
