//! Weights into files, in either layout, without a model around them.

use std::{collections::BTreeMap, path::Path};

use higanbana_io::{
    FileError,
    writer::{self, Entry},
};

use super::{Family, How, Part, Tensor, Weights, how};
use crate::ModelError;

impl Weights {
    /// Writes all tensors under their own names, as they are stored.
    ///
    /// # Errors
    /// When a tensor cannot be read, or the file exists or cannot be written.
    pub fn save(&self, path: &Path, overwrite: bool) -> Result<(), ModelError> {
        let entries = self.keys().map(|key| self.entry(key.into(), vec![key.into()], How::Same));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        writer::write(path, entries, &BTreeMap::from([("format".into(), "pt".into())]), overwrite)
    }

    /// An entry of a file, made of one tensor or of several stacked on their rows.
    fn entry(
        &self,
        name: String,
        keys: Vec<String>,
        how: How,
    ) -> Result<Entry<'_, ModelError>, ModelError> {
        let missing = || FileError::NoSuchKey { path: self.path.clone(), key: keys[0].clone() };
        let dtype = self.info(&keys[0]).ok_or_else(missing)?.dtype;
        let shape = self.shape(&keys[0]).ok_or_else(missing)?;
        let stored = match how {
            How::Same => shape.clone(),
            How::Rows { of, .. } => [&[shape[0] * of], &shape[1..]].concat(),
            How::Pointwise => [&shape[..], &[1, 1]].concat(),
            How::Transposed => shape.iter().rev().copied().collect(),
        };
        Ok(Entry::new(name, dtype, stored, move || {
            let mut bytes = Vec::new();
            for key in keys {
                bytes.extend_from_slice(self.read(&key)?.as_bytes());
            }
            Ok(if how == How::Transposed { how::transposed(&bytes, &shape) } else { bytes })
        }))
    }
}

/// Writes the models of a pipeline as a single file.
///
/// Of SD 2's text encoder diffusers keeps 23 of 24 layers, and so does the file.
///
/// # Errors
/// When a name is not the family's, a tensor cannot be read, or the file exists or cannot be written.
pub fn save_single(
    family: Family,
    parts: &[(Part, &Weights)],
    path: &Path,
    overwrite: bool,
) -> Result<(), ModelError> {
    let mut entries = Vec::new();
    for (part, weights) in parts {
        let tensors: Vec<Tensor> = weights
            .keys()
            .map(|key| Tensor { key: key.into(), shape: weights.shape(key).unwrap_or_default() })
            .collect();
        let places = family.places(*part, &tensors, weights.path())?;
        // What is stacked in one tensor there is several here, in the order of their index.
        let mut stacks = BTreeMap::<String, Vec<(usize, String, How)>>::new();
        for (tensor, (key, how)) in tensors.into_iter().zip(places) {
            let index = if let How::Rows { index, .. } = how { index } else { 0 };
            stacks.entry(key).or_default().push((index, tensor.key, how));
        }
        for (name, mut stack) in stacks {
            stack.sort_by_key(|(index, ..)| *index);
            let how = stack[0].2;
            let keys = stack.into_iter().map(|(_, key, _)| key).collect();
            entries.push(weights.entry(name, keys, how)?);
        }
    }
    writer::write(path, entries, &BTreeMap::from([("format".into(), "pt".into())]), overwrite)
}
