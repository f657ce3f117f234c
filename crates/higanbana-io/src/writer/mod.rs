//! Writing safetensors, streamed: whole or not at all.

mod draft;
mod folder;
mod output;
mod place;
mod temporary;
#[cfg(test)]
mod tests;

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    io::{BufWriter, Write},
    path::Path,
};

use burn::tensor::TensorData;
use safetensors::Dtype;

use crate::{
    FileError,
    checkpoint::{LENGTH_BYTES, MAX_HEADER, METADATA_KEY},
    dtype::{byte_length, file_dtype},
};
pub use draft::Draft;
pub use folder::Folder;
pub(crate) use output::commit;
pub use output::{Output, check, stage_bytes, write_bytes, write_text};
pub use place::Place;
pub use temporary::abandon;
pub(crate) use temporary::tidy_claimed;

/// A tensor to write: its description now, its bytes when their turn comes.
pub struct Entry<'a, E> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Box<dyn FnOnce() -> Result<Vec<u8>, E> + 'a>,
}

impl<'a, E> Entry<'a, E> {
    /// `bytes` is called once, when the tensor is written, and gives the little-endian row-major
    /// data of a `dtype` tensor of this `shape`.
    pub fn new(
        name: impl Into<String>,
        dtype: Dtype,
        shape: impl Into<Vec<usize>>,
        bytes: impl FnOnce() -> Result<Vec<u8>, E> + 'a,
    ) -> Self {
        Self { name: name.into(), dtype, shape: shape.into(), bytes: Box::new(bytes) }
    }
}

/// Writes a safetensors file of `entries` at `path`.
///
/// Tensors are ordered by element size, largest first, then by name, as the format's reference
/// implementation does: every tensor is aligned to its elements, and the bytes depend on nothing
/// but the content. The memory needed is that of one tensor.
///
/// The file is written beside its output under a temporary name, synchronised and renamed, so that
/// at every moment `path` is either what it was or complete.
///
/// # Errors
/// When `path` exists and may not be replaced (`overwrite`), its folder is missing or not writable,
/// the disk is full, two entries have one name, an entry's bytes do not fit its shape, or an
/// entry's closure fails. The temporary file is removed.
pub fn write<E: From<FileError>>(
    path: &Path,
    entries: Vec<Entry<'_, E>>,
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
) -> Result<(), E> {
    Ok(stage(path, entries, metadata, overwrite)?.commit()?)
}

/// [`write()`] up to the last step: the file is complete under its temporary name.
fn stage<E: From<FileError>>(
    path: &Path,
    mut entries: Vec<Entry<'_, E>>,
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
) -> Result<Output, E> {
    let mut output = Output::new(path, overwrite)?;
    entries.sort_by(|a, b| order((a.dtype, &a.name), (b.dtype, &b.name)));
    let header = header(path, &entries, metadata)?;

    let failed = |source| FileError::Write { path: path.into(), source };
    let mut out = BufWriter::with_capacity(1 << 20, output.file());
    out.write_all(&header).map_err(failed)?;
    for Entry { name, dtype, shape, bytes } in entries {
        let bytes = bytes()?;
        if byte_length(dtype, &shape) != Some(bytes.len()) {
            let (path, key, bytes) = (path.into(), name, bytes.len());
            return Err(FileError::Size { path, key, dtype, shape, bytes }.into());
        }
        out.write_all(&bytes).map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    drop(out);
    Ok(output)
}

/// Which of two tensors comes first in a file.
fn order(a: (Dtype, &str), b: (Dtype, &str)) -> Ordering {
    b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1))
}

/// The tensors in the order in which [`write_tensors`] puts them into a file.
pub(crate) fn file_order(tensors: &BTreeMap<String, TensorData>) -> Vec<(&String, &TensorData)> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    // Names are in order already; the sort is stable.
    ordered.sort_by_key(|(_, data)| Reverse(file_dtype(data.dtype())));
    ordered
}

/// [`write()`] for tensors that are in memory.
///
/// # Errors
/// As [`write()`], and when a tensor is quantised.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
) -> Result<(), FileError> {
    stage_tensors(path, tensors, metadata, overwrite)?.commit()
}

/// [`write_tensors`] up to the last step: the file is complete under its temporary name.
///
/// # Errors
/// As [`write_tensors`].
pub fn stage_tensors(
    path: &Path,
    tensors: &BTreeMap<String, TensorData>,
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
) -> Result<Output, FileError> {
    let entries = tensors.iter().map(|(name, data)| entry(path, name, data));
    stage(path, entries.collect::<Result<_, _>>()?, metadata, overwrite)
}

fn entry<'a>(
    path: &Path,
    name: &str,
    data: &'a TensorData,
) -> Result<Entry<'a, FileError>, FileError> {
    let dtype = file_dtype(data.dtype()).ok_or_else(|| FileError::Dtype {
        path: path.into(),
        key: name.into(),
        dtype: format!("{:?}", data.dtype()),
    })?;
    Ok(Entry::new(name, dtype, data.shape().as_slice(), || Ok(data.as_bytes().to_vec())))
}

/// Length and JSON, padded with spaces so that the data begins at a multiple of eight.
fn header<E>(
    path: &Path,
    entries: &[Entry<'_, E>],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, FileError> {
    let mut json = serde_json::Map::new();
    if !metadata.is_empty() {
        json.insert(METADATA_KEY.into(), serde_json::json!(metadata));
    }
    let mut begin = 0usize;
    for Entry { name, dtype, shape, .. } in entries {
        let end =
            byte_length(*dtype, shape).and_then(|n| begin.checked_add(n)).ok_or_else(|| {
                let (path, key, shape) = (path.into(), name.clone(), shape.clone());
                FileError::Size { path, key, dtype: *dtype, shape, bytes: 0 }
            })?;
        let info = serde_json::json!({
            "dtype": dtype, "shape": shape, "data_offsets": [begin, end],
        });
        if name == METADATA_KEY || json.insert(name.clone(), info).is_some() {
            let (path, key) = (path.into(), name.clone());
            let (first, second) = (name.clone(), name.clone());
            return Err(FileError::DuplicateKey { path, key, first, second });
        }
        begin = end;
    }
    let mut header = vec![0; LENGTH_BYTES as usize];
    header.extend(serde_json::Value::Object(json).to_string().into_bytes());
    header.resize(header.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    let length = header.len() as u64 - LENGTH_BYTES;
    if length > MAX_HEADER {
        return Err(FileError::HeaderTooLarge { path: path.into(), length, limit: MAX_HEADER });
    }
    header[..LENGTH_BYTES as usize].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}
