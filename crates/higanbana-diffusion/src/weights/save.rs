//! Weights into files, in either layout, without a model around them.

use std::{collections::BTreeMap, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Tensor as BurnTensor, TensorData},
};
use higanbana_io::{
    FileError, burn_dtype, cast, file_dtype,
    writer::{self, Entry},
};

use super::{Family, How, Part, Tensor, Weights, how, table::Trail};
use crate::ModelError;

/// How tensors are saved.
#[derive(Clone, Copy)]
pub struct Saving<'a> {
    /// Element type; that of each tensor if there is none.
    pub dtype: Option<DType>,
    /// Whether a file may be replaced.
    pub overwrite: bool,
    /// Told of every tensor, before it is written, and how many a file has.
    pub progress: &'a dyn Fn(&str, usize),
}

impl Saving<'_> {
    /// As they are stored, into a new file.
    pub const SAME: Self = Self { dtype: None, overwrite: false, progress: &|_, _| () };

    fn write(&self, path: &Path, entries: Vec<Entry<'_, ModelError>>) -> Result<(), ModelError> {
        let metadata = BTreeMap::from([("format".into(), "pt".into())]);
        writer::write(path, entries, &metadata, self.overwrite)
    }
}

impl Weights {
    /// Writes all tensors under their own names.
    ///
    /// # Errors
    /// When a tensor cannot be read or is too large for the element type, or the file exists or cannot
    /// be written.
    pub fn save(&self, path: &Path, saving: &Saving) -> Result<(), ModelError> {
        let total = self.keys().count();
        let entry = |key: &str| self.entry(key.into(), vec![key.into()], How::Same, saving, total);
        saving.write(path, self.keys().map(entry).collect::<Result<_, _>>()?)
    }

    /// An entry of a file of `total`, made of one tensor or of several stacked on their rows.
    fn entry<'a>(
        &'a self,
        name: String,
        keys: Vec<String>,
        how: How,
        saving: &'a Saving,
        total: usize,
    ) -> Result<Entry<'a, ModelError>, ModelError> {
        let missing = || FileError::NoSuchKey { path: self.path.clone(), key: keys[0].clone() };
        let dtype = self.dtype(&keys[0]).ok_or_else(missing)?;
        let floats = burn_dtype(dtype).filter(DType::is_float);
        let wanted = saving.dtype.filter(|wanted| floats.is_some_and(|own| own != *wanted));
        let dtype = wanted.and_then(file_dtype).unwrap_or(dtype);
        let shape = self.shape(&keys[0]).ok_or_else(missing)?;
        let stored = match how {
            How::Same => shape.clone(),
            How::Rows { of, .. } => [&[shape[0] * of], &shape[1..]].concat(),
            How::Pointwise => [&shape[..], &[1, 1]].concat(),
            How::Transposed => shape.iter().rev().copied().collect(),
        };
        Ok(Entry::new(name.clone(), dtype, stored, move || {
            (saving.progress)(&name, total);
            let mut bytes = Vec::new();
            for key in keys {
                let data = match wanted {
                    Some(dtype) => self.read_as(&key, dtype)?,
                    None => self.read(&key)?,
                };
                bytes.extend_from_slice(data.as_bytes());
            }
            Ok(if how == How::Transposed { how::transposed(&bytes, &shape) } else { bytes })
        }))
    }

    /// A tensor in another element type, which must hold its values.
    fn read_as(&self, key: &str, dtype: DType) -> Result<TensorData, ModelError> {
        let data = self.read(key)?;
        cast::check_finite(&self.path, key, &data)?;
        let data = cast::cast(data, dtype).expect("files hold no quantised data");
        match cast::check_finite(&self.path, key, &data) {
            Ok(()) => Ok(data),
            Err(_) => {
                let reason = format!("holds a value too large for {}", dtype.name());
                Err(ModelError::input(key, reason))
            }
        }
    }
}

/// Writes the weights that a model has now into a new file, under the names that files give them.
///
/// # Errors
/// When one is not finite or too large for the element type, or the file exists or cannot be written.
pub fn save<M: Module>(model: &M, path: &Path, dtype: DType) -> Result<(), ModelError> {
    let mut collect = Collect { path, dtype, trail: Trail::default(), found: Ok(BTreeMap::new()) };
    model.visit(&mut collect);
    let metadata = BTreeMap::from([("format".into(), "pt".into())]);
    Ok(writer::write_tensors(path, &collect.found?, &metadata, false)?)
}

struct Collect<'a> {
    path: &'a Path,
    dtype: DType,
    trail: Trail,
    found: Result<BTreeMap<String, TensorData>, FileError>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.trail.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.trail.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<BurnTensor<D>>) {
        let (Some(place), Ok(found)) = (self.trail.place(), &mut self.found) else { return };
        let tensor = param.val();
        let tensor = if place.transposed { tensor.swap_dims(0, 1) } else { tensor };
        let data = cast::cast(tensor.into_data(), self.dtype).expect("weights are floats");
        match cast::check_finite(self.path, &place.key, &data) {
            Ok(()) => drop(found.insert(place.key, data)),
            Err(error) => self.found = Err(error),
        }
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
    saving: &Saving,
) -> Result<(), ModelError> {
    let total = parts.iter().map(|(_, weights)| weights.keys().count()).sum();
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
            entries.push(weights.entry(name, keys, how, saving, total)?);
        }
    }
    saving.write(path, entries)
}
