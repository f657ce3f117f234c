//! Reading files of tensors, one tensor at a time: safetensors, PyTorch's pickles, and directories of them.

pub(crate) mod float8;
mod formats;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use safetensors::Dtype;

use crate::{FileError, dtype::burn_dtype};
pub use formats::weight_files;
use formats::{Container, Contents};
pub(crate) use formats::{LENGTH_BYTES, LIST, MAX_HEADER, METADATA_KEY};

/// What a file says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

/// A file of tensors, open for reading; or a directory of such files, which is read as one.
///
/// Only names, types and shapes are kept in memory. A tensor's bytes are read at its place when it is
/// asked for.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    total_bytes: u64,
    names: Vec<String>,
    tensors: HashMap<String, Info>,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
    container: Box<dyn Container>,
}

impl Checkpoint {
    /// Opens a file, or the weights in a directory of diffusers' or PEFT's; no tensor is read. What is
    /// in several files of a pipeline has the names of their folders in front: `unet.conv_in.weight`.
    ///
    /// # Errors
    /// When the file cannot be opened, is of another format, is truncated, or contradicts itself.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let Contents { path, tensors, metadata, notes, container, bytes } =
            formats::open(&path.into())?;
        let names = tensors.iter().map(|(name, _)| name.clone()).collect();
        let tensors = tensors.into_iter().collect();
        Ok(Self { path, total_bytes: bytes, names, tensors, metadata, notes, container })
    }

    /// The tensors' names, in the order in which they are best read.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Dtype and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&Info> {
        self.tensors.get(name)
    }

    /// The `__metadata__` of a safetensors file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What a user should know of the file, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the whole file, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Reads one tensor as it is stored; 8-bit floats, which Burn lacks, as F16, which holds them all.
    /// Those with a scale (`scale_weight`) are multiplied by it, and F32.
    ///
    /// # Errors
    /// When there is no such tensor, its dtype has no equal in Burn (use [`Self::read_bytes`]), or
    /// the file cannot be read.
    pub fn read(&self, name: &str) -> Result<TensorData, FileError> {
        let info = self.expect(name)?;
        if float8::is(info.dtype) {
            return float8::read(self, name, info);
        }
        let unsupported = || FileError::Dtype {
            path: self.path.clone(),
            key: name.into(),
            dtype: info.dtype.to_string(),
        };
        let dtype = burn_dtype(info.dtype).ok_or_else(unsupported)?;
        let bytes = self.read_bytes(name)?;
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), dtype).map_err(|_| unsupported())
    }

    /// The element type in which [`Self::read`] gives a tensor.
    pub fn dtype_read(&self, name: &str) -> Option<Dtype> {
        match self.info(name)?.dtype {
            dtype if !float8::is(dtype) => Some(dtype),
            _ if matches!(self.scale_of(name), Ok(Some(_))) => Some(Dtype::F32),
            _ => Some(Dtype::F16),
        }
    }

    /// Reads the bytes of one tensor, whatever its dtype.
    ///
    /// # Errors
    /// When there is no such tensor or the file cannot be read.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        self.expect(name)?;
        self.container.read(name)
    }

    /// The tensor that an 8-bit tensor is to be multiplied by.
    ///
    /// # Errors
    /// When the file has a scale for it whose meaning is not known.
    pub fn scale_of(&self, name: &str) -> Result<Option<&str>, FileError> {
        match self.info(name) {
            Some(info) if float8::is(info.dtype) => float8::scale(self, name),
            _ => Ok(None),
        }
    }

    fn expect(&self, name: &str) -> Result<&Info, FileError> {
        self.info(name)
            .ok_or_else(|| FileError::NoSuchKey { path: self.path.clone(), key: name.into() })
    }
}
