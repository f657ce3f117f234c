//! Safetensors.
//!
//! ```text
//! file = length: u64 little-endian | header: JSON, `length` bytes | data, tiled by the tensors
//! ```

use std::{
    collections::HashMap,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{Container, Contents, Format, header::Header, positioned::read_exact_at};
use crate::FileError;

/// Bytes of the length that a file begins with.
pub(crate) const LENGTH_BYTES: u64 = 8;

/// The longest header, in bytes, that the format's reference implementation reads or writes.
pub(crate) const MAX_HEADER: u64 = 100_000_000;

/// A file too short for a header is taken for one that is cut off.
pub(super) const FORMAT: Format =
    Format { is: |start| start.get(LENGTH_BYTES as usize).is_none_or(|&byte| byte == b'{'), open };

/// A file of which only the header is in memory; nothing is mapped, so the peak memory of a pass over
/// it is that of its largest tensor.
#[derive(Debug)]
struct Safetensors {
    path: PathBuf,
    file: File,
    data_start: u64,
    places: HashMap<String, Range<usize>>,
}

/// The header's claims are checked before any memory is taken for them.
fn open(path: &Path, file: File, bytes: u64) -> Result<Contents, FileError> {
    let json = read_header(path, &file, bytes)?;
    let data_start = LENGTH_BYTES + json.len() as u64;
    let Header { metadata, tensors } = Header::parse(path, &json, bytes - data_start)?;
    let places = tensors.iter().map(|(key, placed)| (key.clone(), placed.bytes.clone())).collect();
    Ok(Contents {
        path: path.into(),
        tensors: tensors.into_iter().map(|(key, placed)| (key, placed.info)).collect(),
        metadata,
        notes: Vec::new(),
        container: Box::new(Safetensors { path: path.into(), file, data_start, places }),
        bytes,
    })
}

impl Container for Safetensors {
    fn read(&self, key: &str) -> Result<Vec<u8>, FileError> {
        let no_such_key = || FileError::NoSuchKey { path: self.path.clone(), key: key.into() };
        let range = self.places.get(key).ok_or_else(no_such_key)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(range.len()).map_err(|_| FileError::Memory {
            path: self.path.clone(),
            key: key.into(),
            bytes: range.len(),
        })?;
        bytes.resize(range.len(), 0);
        read_exact_at(&self.file, &mut bytes, self.data_start + range.start as u64)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        Ok(bytes)
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
    let truncated = |expected| FileError::Truncated { path: path.into(), expected, found: total };
    let start = read(total.min(LENGTH_BYTES), 0)?;
    let length = start.first_chunk().ok_or_else(|| truncated(LENGTH_BYTES))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(FileError::HeaderTooLarge { path: path.into(), length, limit: MAX_HEADER });
    }
    let expected = LENGTH_BYTES + length;
    if expected > total {
        return Err(truncated(expected));
    }
    read(length, LENGTH_BYTES)
}
