//! Merging adapters into a base, tensor by tensor.

mod fitting;
mod plan;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_core::Registry;

pub use fitting::Fitting;

use super::{
    ApplyError, ModuleReader, Placed, Strength,
    error::instead,
    parameter::{Parameter, read_matrix},
};
use crate::{
    AdapterReader, Checkpoint, Dialect, Dtype, FileError, burn_dtype, cast,
    writer::{self, Entry},
};

/// An adapter file and the strength $\mu$ to merge it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// $\mu$, where it acts.
    pub strength: Strength,
}

/// What of an adapter file goes into the base.
#[derive(Debug)]
pub struct Planned {
    /// The file and its strength.
    pub source: Source,
    /// How it spells its names.
    pub dialect: Dialect,
    /// What of it fits.
    pub placed: Placed,
}

/// A merge that has been found possible: every module of every file has been matched with the base
/// and read once.
///
/// $$W = W_0 + \sum_i \big(W_i(\mu_i) - W_0\big)$$
///
/// Each $W_i$ is computed from the untouched base, so that the order of the files does not matter.
#[derive(Debug)]
pub struct Merge<'a> {
    registry: &'a Registry,
    device: Device,
    dtype: DType,
    base: Checkpoint,
    readers: Vec<AdapterReader>,
    planned: Vec<Planned>,
    patches: BTreeMap<String, Vec<Patch>>,
    /// The scales of 8-bit weights that are adapted, each with its weight.
    scales: BTreeMap<String, String>,
}

/// A module of one of the files and the parameter that it adapts.
#[derive(Debug)]
struct Patch {
    file: usize,
    module: String,
    parameter: Parameter,
    strength: f64,
}

impl<'a> Merge<'a> {
    /// What of each file goes into the base, in the order of the files.
    pub fn planned(&self) -> &[Planned] {
        &self.planned
    }

    /// Number of tensors of the base.
    pub fn tensors(&self) -> usize {
        self.base.names().len()
    }

    /// Number of tensors of the base that will change.
    pub fn changed(&self) -> usize {
        self.patches.keys().filter(|key| self.changes(key)).count()
    }

    /// What a user should know of the base, one line each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.base.notes().to_vec();
        let widened =
            self.patches.keys().filter(|key| self.dtype_of(key) != self.stored(key)).count();
        if widened > 0 {
            notes.push(format!(
                "{}: {widened} of its 8-bit weights change and are F16 in the result, unscaled; 8 bits would not hold the change",
                self.base.path().display()
            ));
        }
        notes
    }

    /// Merges and writes. Tensors that are not adapted, and the metadata, are copied as they are;
    /// the others are rounded to their own element type, 8-bit floats to F16. `progress` is told each
    /// tensor's key.
    ///
    /// # Errors
    /// When a tensor of the base is not finite or would no longer be, or the output exists or
    /// cannot be written. Nothing of it is then left.
    pub fn write(
        &self,
        out: &Path,
        overwrite: bool,
        progress: impl Fn(&str),
    ) -> Result<(), ApplyError> {
        let entries = self.base.names().iter().map(|key| {
            let info = self.base.info(key).expect("it has a name");
            let progress = &progress;
            Entry::new(key, self.dtype_of(key), info.shape.clone(), move || {
                progress(key);
                self.bytes(key)
            })
        });
        writer::write(out, entries.collect(), self.base.metadata(), overwrite)
    }

    fn stored(&self, key: &str) -> Dtype {
        self.base.info(key).expect("it has a name").dtype
    }

    /// Element type of a tensor of the result.
    fn dtype_of(&self, key: &str) -> Dtype {
        match self.stored(key) {
            Dtype::F8_E4M3 | Dtype::F8_E5M2 if self.changes(key) => Dtype::F16,
            stored => stored,
        }
    }

    fn changes(&self, key: &str) -> bool {
        self.patches.get(key).is_some_and(|patches| self.active(patches).next().is_some())
    }

    /// The bytes of a tensor of the result.
    fn bytes(&self, key: &str) -> Result<Vec<u8>, ApplyError> {
        let active = || self.active(self.patches.get(key).map_or(&[], Vec::as_slice));
        if self.scales.get(key).is_some_and(|weight| self.changes(weight)) {
            return self.ones(key);
        }
        if !self.changes(key) {
            return Ok(self.base.read_bytes(key)?);
        }
        let w0 = read_matrix(&self.base, key, &self.device, self.dtype)?;
        let mut w = w0.clone();
        for patch in active() {
            let update = self.update(patch, &w0)?;
            w = patch.parameter.add(w, update);
        }
        let path = self.base.path();
        let dtype = burn_dtype(self.dtype_of(key)).expect("a float type, by the plan");
        let data = cast::cast(w.into_data(), dtype)
            .map_err(|error| ApplyError::base(path, key, error.to_string()))?;
        match cast::check_finite(path, key, &data) {
            Ok(()) => Ok(data.as_bytes().to_vec()),
            Err(FileError::NotFinite { index, value, .. }) => {
                let (patch, key) = (self.largest(active(), &w0, index)?, key.into());
                let path = self.planned[patch.file].source.path.clone();
                let (module, strength) = (patch.module.clone(), patch.strength);
                let instead = instead(dtype);
                Err(ApplyError::Overflow { path, module, strength, key, instead, index, value })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The scale of a weight that is scaled no longer.
    fn ones(&self, key: &str) -> Result<Vec<u8>, ApplyError> {
        let scale = self.base.read(key)?;
        let ones = TensorData::ones::<f32, _>(scale.shape().clone());
        let ones = cast::cast(ones, scale.dtype());
        let ones =
            ones.map_err(|error| ApplyError::base(self.base.path(), key, error.to_string()))?;
        Ok(ones.as_bytes().to_vec())
    }

    /// The patch that adds most to an element, or no number.
    fn largest<'p>(
        &self,
        patches: impl Iterator<Item = &'p Patch>,
        w0: &Tensor<2>,
        index: usize,
    ) -> Result<&'p Patch, ApplyError> {
        let mut largest = None;
        for patch in patches {
            let added = patch.parameter.add(w0.zeros_like(), self.update(patch, w0)?);
            let added = added.into_data().iter::<f64>().nth(index).expect("it is the whole matrix");
            let size = if added.is_nan() { f64::INFINITY } else { added.abs() };
            if largest.is_none_or(|(_, most)| size > most) {
                largest = Some((patch, size));
            }
        }
        Ok(largest.expect("something changed the element").0)
    }

    /// $W_i(\mu_i) - W_0$ of one module.
    fn update(&self, patch: &Patch, w0: &Tensor<2>) -> Result<Tensor<2>, ApplyError> {
        let reader = &self.readers[patch.file];
        let tensors = reader.read(&patch.module)?;
        let value = |parameter: &Parameter| Ok(Some(parameter.of_matrix(w0)));
        let parameter = vec![patch.parameter.clone()];
        let holding = self.modules(reader).at_base(&patch.module, &tensors, parameter, value)?;
        let resolved = holding.found.into_iter().find_map(|found| found.resolved);
        let resolved = resolved.expect("it was there in the plan, and its weight is at hand");
        Ok(resolved.update(patch.strength))
    }

    /// How the modules of a file are read.
    fn modules<'r>(&'r self, reader: &'r AdapterReader) -> ModuleReader<'r> {
        let Self { registry, device, dtype, .. } = self;
        ModuleReader { file: reader, registry, device, dtype: *dtype }
    }

    /// Patches that are not switched off.
    fn active<'p>(&self, patches: &'p [Patch]) -> impl Iterator<Item = &'p Patch> {
        patches.iter().filter(|patch| patch.strength != 0.0)
    }
}
