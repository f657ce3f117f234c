//! The adapters of a file at a smaller rank.

use std::path::Path;

use burn::tensor::{DType, Device};
use higanbana_core::{Budget, Registry, Tensors};

use super::fit::{Goal, norm};
use super::held::{Held, Modules};
use super::{Fit, Layer, RefitError, Total};
use crate::dialect::{Encoded, Network};

/// How to resize.
#[derive(Debug)]
pub struct Resize<'a> {
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// What to keep of each module.
    pub budget: Budget,
    /// The base, for algorithms whose update follows from its weights.
    pub base: Option<&'a Path>,
    /// Where to compute.
    pub device: Device,
    /// What to compute in: F32 or F64.
    pub compute: DType,
}

/// A file at a smaller rank.
#[derive(Debug)]
pub struct Resized {
    /// The file, in the dialect it had.
    pub file: Encoded,
    /// The modules with a rank, also those that are small enough and stay as they are.
    pub layers: Vec<Layer>,
    /// Modules without a rank, which stay as they are.
    pub kept: Vec<String>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
}

impl Resized {
    /// Of all modules with a rank.
    pub fn total(&self) -> Total {
        Total::of(&self.layers)
    }
}

impl Resize<'_> {
    /// Resizes the adapters of the file at `path`: each to the best approximation in its own family
    /// that the budget allows. One whose rank the budget does not lower stays as it is, to the bit.
    /// `progress` is told each module and how many there are.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, nothing in it has a rank, a module of it cannot be resized or
    /// not without a base, or a decomposition fails.
    pub fn run(
        &self,
        path: &Path,
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Resized, RefitError> {
        let modules = Modules::open(path, self.base, self.registry, &self.device, self.compute)?;
        let (mut layers, mut kept) = (Vec::new(), Vec::new());
        let mut file = modules.file();
        let count = modules.reader.modules().count();
        for module in modules.reader.modules() {
            progress(module, count);
            let mut tensors = modules.reader.read(module)?;
            if !modules.has_rank(&tensors) {
                kept.push(module.to_string());
                file.modules.insert(module.into(), tensors);
                continue;
            }
            for held in modules.read(module, &tensors)? {
                let Some(rank) = held.outline().rank else { continue };
                let (resized, fit) = self.resize(path, module, &held, rank)?;
                tensors.retain(|key, _| !held.tensors.contains_key(key));
                tensors.extend(resized);
                layers.push(Layer::of(module, &held.site, fit));
            }
            file.modules.insert(module.into(), tensors);
        }
        let Some(rank) = layers.iter().filter_map(|layer| layer.fit.rank).max() else {
            return Err(RefitError::NoRank { path: path.into() });
        };
        let network = Network { dim: Some(rank), alpha: Some(rank as f64), ..Network::default() };
        Ok(Resized {
            file: file.encode(file.dialect, None, &network)?,
            layers,
            kept,
            notes: modules.notes(),
        })
    }

    /// One adapter, whose rank is `own`.
    fn resize(
        &self,
        path: &Path,
        module: &str,
        held: &Held,
        own: usize,
    ) -> Result<(Tensors, Fit), RefitError> {
        let Held { kind, site, adapter, tensors, w0 } = held;
        let update = held.update();
        let as_it_is = || {
            let fit = Fit {
                algorithm: kind.name().into(),
                rank: Some(own),
                parameters: adapter.parameter_count(site),
                norm: norm(module, &update)?,
                error: 0.0,
            };
            Ok((tensors.clone(), fit))
        };
        if matches!(self.budget, Budget::Rank(rank) if rank >= own) {
            return as_it_is();
        }
        let resized = adapter.resized(site, w0, self.budget).ok_or_else(|| {
            let (path, module, algorithm) = (path.into(), module.into(), kind.name().into());
            RefitError::NotResizable { path, module, algorithm }
        })?;
        let resized = resized.map_err(|error| RefitError::Fit {
            module: module.into(),
            reason: error.to_string(),
        })?;
        let goal = Goal { kind, module, site, w0, update: &update };
        let (tensors, fit) = goal.meet(resized.write(site), held.dtype())?;
        match fit.rank {
            Some(rank) if rank >= own => as_it_is(),
            _ => Ok((tensors, fit)),
        }
    }
}
