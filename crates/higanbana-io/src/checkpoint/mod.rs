//! Reading safetensors one tensor at a time.

mod foreign;
mod header;
mod positioned;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;

use crate::{FileError, dtype::burn_dtype};
use header::Header;
pub use header::Info;
pub(crate) use header::METADATA_KEY;
use positioned::read_exact_at;

/// Bytes of the length that a file begins with.
pub(crate) const LENGTH_BYTES: u64 = 8;

/// The longest header, in bytes, that the format's reference implementation reads or writes.
pub(crate) const MAX_HEADER: u64 = 100_000_000;

/// A safetensors file, open for reading.
///
/// Only the header is kept in memory. A tensor's bytes are read at its place when it is asked for;
/// nothing is mapped, so the peak memory of a pass over the file is that of its largest tensor.
///
/// ```text
/// file = length: u64 little-endian | header: JSON, `length` bytes | data, tiled by the tensors
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    file: File,
    data_start: u64,
    total_bytes: u64,
    names: Vec<String>,
    tensors: HashMap<String, Info>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a file and validates its header; no tensor is read.
    ///
    /// # Errors
    /// When the file cannot be opened, is not safetensors, is truncated, or has a header that
    /// contradicts itself or the file's size. The header's claims are checked before any memory
    /// is taken for them.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        let cannot_open = |source| FileError::Open { path: path.clone(), source };
        // Before opening: a pipe would block.
        if !fs::metadata(&path).map_err(cannot_open)?.is_file() {
            return Err(FileError::NotAFile { path });
        }
        let file = File::open(&path).map_err(cannot_open)?;
        let total_bytes = file.metadata().map_err(cannot_open)?.len();

        let json = read_header(&path, &file, total_bytes)?;
        let data_start = LENGTH_BYTES + json.len() as u64;
        let header = Header::parse(&path, &json, total_bytes - data_start)?;
        let names = header.tensors.iter().map(|(name, _)| name.clone()).collect();
        let tensors = header.tensors.into_iter().collect();
        Ok(Self { path, file, data_start, total_bytes, names, tensors, metadata: header.metadata })
    }

    /// The tensors' names in the order of their bytes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Dtype and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&Info> {
        self.tensors.get(name)
    }

    /// The `__metadata__` of the header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the whole file, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Reads one tensor as it is stored.
    ///
    /// # Errors
    /// When there is no such tensor, its dtype has no equal in Burn (use [`Self::read_bytes`]), or
    /// the file cannot be read.
    pub fn read(&self, name: &str) -> Result<TensorData, FileError> {
        let info = self.expect(name)?;
        let unsupported = || FileError::Dtype {
            path: self.path.clone(),
            key: name.into(),
            dtype: info.dtype.to_string(),
        };
        let dtype = burn_dtype(info.dtype).ok_or_else(unsupported)?;
        let bytes = self.read_bytes(name)?;
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), dtype).map_err(|_| unsupported())
    }

    /// Reads the bytes of one tensor, whatever its dtype.
    ///
    /// # Errors
    /// When there is no such tensor or the file cannot be read.
    pub fn read_bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let range = &self.expect(name)?.bytes;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(range.len()).map_err(|_| FileError::Memory {
            path: self.path.clone(),
            key: name.into(),
            bytes: range.len(),
        })?;
        bytes.resize(range.len(), 0);
        read_exact_at(&self.file, &mut bytes, self.data_start + range.start as u64)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn expect(&self, name: &str) -> Result<&Info, FileError> {
        self.info(name)
            .ok_or_else(|| FileError::NoSuchKey { path: self.path.clone(), key: name.into() })
    }
}

/// The header's JSON, once its length has been found plausible.
fn read_header(path: &Path, file: &File, total: u64) -> Result<Vec<u8>, FileError> {
    let read = |length: u64, offset| {
        let mut bytes = vec![0; length as usize];
        read_exact_at(file, &mut bytes, offset)
            .map_err(|source| FileError::Read { path: path.into(), source })?;
        Ok::<_, FileError>(bytes)
    };
    if total == 0 {
        return Err(FileError::Empty { path: path.into() });
    }
    let start = read(total.min(64), 0)?;
    let Some((length, json)) = start.split_first_chunk() else {
        return Err(FileError::Truncated {
            path: path.into(),
            expected: LENGTH_BYTES,
            found: total,
        });
    };
    if json.first().is_some_and(|&byte| byte != b'{') {
        let (what, remedy) = foreign::recognise(&start);
        return Err(FileError::Foreign { path: path.into(), what, remedy });
    }
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(FileError::HeaderTooLarge { path: path.into(), length, limit: MAX_HEADER });
    }
    let expected = LENGTH_BYTES + length;
    if expected > total {
        return Err(FileError::Truncated { path: path.into(), expected, found: total });
    }
    read(length, LENGTH_BYTES)
}
