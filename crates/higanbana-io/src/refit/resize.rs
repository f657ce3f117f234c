//! The adapters of a file at a smaller rank.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::{Arguments, Budget, Registry, Tensors};

use super::{
    Fit, FitError, RefitError, Refitted, Total,
    fit::{Goal, norm, stored},
    modules::Modules,
};
use crate::{
    Leftover,
    apply::{Found, Leftovers, Resolved},
    dialect::Encoded,
};

/// How to resize.
#[derive(Debug)]
pub struct Resize<'a> {
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// What to keep of each module.
    pub budget: Budget,
    /// Element type of every tensor of the file; that of each module's own if none.
    pub dtype: Option<DType>,
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
    /// The file, every module under the name it had.
    pub file: Encoded,
    /// The modules with a rank, also those that are small enough and stay as they are.
    pub layers: Vec<Refitted>,
    /// Modules without a rank, which stay as they are.
    pub kept: Vec<String>,
    /// Modules that would have as many values as before or more, and stay as they are.
    pub not_smaller: Vec<String>,
    /// Tensors that are not in it, and those that no adapter uses.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The files that were read.
    pub inputs: Vec<PathBuf>,
}

/// What becomes of an adapter.
pub(super) enum Size {
    Smaller(Tensors, Fit),
    /// Its rank is within the budget.
    SmallEnough(Fit),
    /// It would not have fewer values.
    NotSmaller(Fit),
}

impl Resized {
    /// Of all modules with a rank.
    pub fn total(&self) -> Total {
        Total::of(&self.layers)
    }
}

impl Resize<'_> {
    /// Resizes the adapters of the file at `path`: each to the best approximation in its own family
    /// that the budget allows. Where the metadata (`algo` of `ss_network_args`) name another family of
    /// the same tensors, it is that one. One whose rank the budget does not lower, or that would not have fewer
    /// values, such as one with a Tucker core, which is left behind, stays as it is, to the bit.
    /// `progress` is told each module and how many there are.
    ///
    /// # Errors
    /// When the file cannot be read, nothing in it has a rank, a module of it cannot be resized or
    /// not without a base, or a decomposition fails.
    pub fn run(
        &self,
        path: &Path,
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Resized, RefitError> {
        let modules = Modules::open(path, self.base, self.registry, &self.device, self.compute)?;
        let (mut layers, mut kept, mut not_smaller) = (Vec::new(), Vec::new(), Vec::new());
        let mut smaller = BTreeMap::new();
        let mut leftovers = Leftovers::rewriting(&modules.reader, true);
        let count = modules.reader.modules().count();
        for module in modules.reader.modules() {
            progress(module, count);
            let mut tensors = modules.reader.read(module)?;
            if !modules.has_rank(&tensors) {
                kept.push(module.to_string());
                smaller.insert(module.to_string(), self.typed(path, module, tensors)?);
                continue;
            }
            for (found, resolved) in modules.read(module, &tensors, &mut leftovers)? {
                let (found, resolved) = modules.as_named(found, resolved)?;
                let Some(rank) = found.outline().rank else { continue };
                let file = (path, modules.reader.arguments());
                let fit = match self.one(file, module, &found, &resolved, rank)? {
                    Size::Smaller(resized, fit) => {
                        tensors.retain(|key, _| !found.tensors.contains_key(key));
                        tensors.extend(resized);
                        fit
                    }
                    Size::NotSmaller(fit) => {
                        not_smaller.push(module.to_string());
                        fit
                    }
                    Size::SmallEnough(fit) => fit,
                };
                layers.push(Refitted::of(module, &resolved.site, fit));
            }
            smaller.insert(module.to_string(), self.typed(path, module, tensors)?);
        }
        if layers.is_empty() {
            return Err(RefitError::NoRank { path: path.into() });
        }
        let mut network = modules.network(&smaller);
        // The tensors alone would tell another.
        if let Some(named) = modules.named()
            && layers.iter().any(|layer| layer.fit.algorithm == named.name())
        {
            network = network.called(named);
        }
        network = network.scaled_as(modules.reader.arguments());
        Ok(Resized {
            file: modules.reader.rewrite(self.registry, smaller, &network)?,
            layers,
            kept,
            not_smaller,
            leftovers: leftovers.into_vec(),
            notes: modules.notes(),
            inputs: modules.files(),
        })
    }

    /// The tensors of a module as the file holds them.
    fn typed(&self, path: &Path, module: &str, tensors: Tensors) -> Result<Tensors, RefitError> {
        let Some(dtype) = self.dtype else { return Ok(tensors) };
        stored(module, tensors, dtype).map_err(FitError::of(path))
    }

    /// One adapter, whose rank is `own`, of a file whose metadata say so much.
    pub(super) fn one(
        &self,
        (path, arguments): (&Path, &Arguments),
        module: &str,
        found: &Found,
        resolved: &Resolved,
        own: usize,
    ) -> Result<Size, RefitError> {
        let kind = found.kind;
        let Resolved { site, adapter, w0 } = resolved;
        let update = resolved.update(1.0);
        let said = FitError::of(path);
        let goal = Goal { kind, module, site, w0, update: &update, arguments };
        let as_it_is = || match self.dtype {
            Some(dtype) => {
                let rounded = goal.meet(found.tensors.clone(), dtype);
                Ok::<_, RefitError>(rounded.map_err(&said)?.1)
            }
            None => Ok(Fit {
                algorithm: kind.name().into(),
                rank: Some(own),
                parameters: adapter.parameter_count(site),
                norm: norm(module, &update).map_err(&said)?,
                error: 0.0,
                local_optimum: None,
            }),
        };
        if matches!(self.budget, Budget::Rank(rank) if rank >= own) {
            return Ok(Size::SmallEnough(as_it_is()?));
        }
        let resized = adapter.resized(site, w0, self.budget).ok_or_else(|| {
            let (path, module, algorithm) = (path.into(), module.into(), kind.name().into());
            RefitError::NotResizable { path, module, algorithm }
        })?;
        let resized = resized.map_err(|error| said(FitError::failed(module, error)))?;
        let dtype = self.dtype.unwrap_or(found.dtype());
        let fitted = goal.meet(resized.write(site), dtype);
        let (tensors, fit) = fitted.map_err(&said)?;
        let local_optimum = goal.above_least(&resized).map_err(&said)?;
        let fit = Fit { local_optimum, ..fit };
        match fit.rank {
            Some(rank) if rank >= own => Ok(Size::SmallEnough(as_it_is()?)),
            // A Tucker core is left behind; what has one may be smaller with it.
            _ if fit.parameters >= adapter.parameter_count(site) => {
                Ok(Size::NotSmaller(as_it_is()?))
            }
            _ => Ok(Size::Smaller(tensors, fit)),
        }
    }
}
