//! A file whose tensors are known one by one: kept on disk until the last.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use safetensors::Dtype;

use super::{Entry, Output, order};
use crate::{FileError, dtype::file_dtype, hash::hash_chunks};

/// An adapter file under way. Its tensors lie in a temporary file beside the output; the memory
/// needed is that of one tensor.
pub struct Draft {
    path: PathBuf,
    overwrite: bool,
    scratch: Output,
    end: u64,
    stored: BTreeMap<String, Stored>,
}

struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    begin: u64,
    length: usize,
}

impl Draft {
    /// A file to be written at `path`.
    ///
    /// # Errors
    /// When `path` exists and may not be replaced, or its folder is missing or not writable.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, FileError> {
        let scratch = Output::new(path, overwrite)?;
        Ok(Self { path: path.into(), overwrite, scratch, end: 0, stored: BTreeMap::new() })
    }

    /// Puts down a tensor.
    ///
    /// # Errors
    /// When there is one of this name already, it is quantised, or the disk is full.
    pub fn put(&mut self, name: String, data: &TensorData) -> Result<(), FileError> {
        let (path, key) = (self.path.clone(), name.clone());
        if self.stored.contains_key(&name) {
            return Err(FileError::DuplicateKey { path, key, first: name.clone(), second: name });
        }
        let Some(dtype) = file_dtype(data.dtype()) else {
            return Err(FileError::Dtype { path, key, dtype: format!("{:?}", data.dtype()) });
        };
        let bytes = data.as_bytes();
        let written = self.scratch.file().write_all(bytes);
        written.map_err(|source| FileError::Write { path, source })?;
        let shape = data.shape().as_slice().to_vec();
        self.stored.insert(name, Stored { dtype, shape, begin: self.end, length: bytes.len() });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes the file; `metadata` is told the hash of its tensors ([`crate::sshs_model_hash`]).
    ///
    /// # Errors
    /// Those of [`super::write()`].
    pub fn write(
        mut self,
        metadata: impl FnOnce(&str) -> BTreeMap<String, String>,
    ) -> Result<(), FileError> {
        let path = self.path.clone();
        let failed = |source| FileError::Write { path: path.clone(), source };
        let mut tensors: Vec<_> = std::mem::take(&mut self.stored).into_iter().collect();
        tensors.sort_by(|(a, x), (b, y)| order((x.dtype, a), (y.dtype, b)));
        let file = &*self.scratch.file();
        let read = |stored: &Stored| read_at(file, stored).map_err(failed);
        let hash = hash_chunks(tensors.iter().map(|(_, stored)| read(stored)))?;
        let metadata = metadata(&hash);
        let entries = tensors.into_iter().map(|(name, stored)| {
            Entry::new(name, stored.dtype, stored.shape.clone(), move || read(&stored))
        });
        super::write(&self.path, entries.collect(), &metadata, self.overwrite)
    }
}

fn read_at(mut file: &std::fs::File, stored: &Stored) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; stored.length];
    file.seek(SeekFrom::Start(stored.begin))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
