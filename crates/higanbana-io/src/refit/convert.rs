//! An adapter file in another dialect, and in another algorithm where a dialect asks for one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use higanbana_core::{Budget, Registry, Tensors};

use super::{Choice, Fit, FitError, RefitError, Refitted, Total, fit, modules::Modules};
use crate::{
    Dialect, Leftover,
    apply::{Found, Leftovers, Resolved},
    dialect::Encoded,
};

/// An algorithm to put every update into.
#[derive(Debug, Clone, Copy)]
pub struct Bake<'a> {
    /// The algorithm.
    pub choice: Choice<'a>,
    /// How much of each update to keep.
    pub budget: Budget,
    /// Element type of the tensors; that of the module's own if none.
    pub dtype: Option<DType>,
}

/// How to convert.
#[derive(Debug)]
pub struct Convert<'a> {
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// The dialect to write.
    pub to: Dialect,
    /// The base: for its names, and for algorithms whose update follows from its weights.
    pub base: Option<&'a Path>,
    /// The algorithm to bake into; none keeps every tensor as it is.
    pub bake: Option<Bake<'a>>,
    /// Where to compute.
    pub device: Device,
    /// What to compute in: F32 or F64.
    pub compute: DType,
}

/// A converted file.
#[derive(Debug)]
pub struct Converted {
    /// The file.
    pub file: Encoded,
    /// What was baked, and what that lost.
    pub layers: Vec<Refitted>,
    /// Tensors that are not in it; where something was baked, also those that no adapter uses.
    pub leftovers: Vec<Leftover>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    /// The files that were read.
    pub inputs: Vec<PathBuf>,
}

impl Converted {
    /// Of everything that was baked.
    pub fn total(&self) -> Total {
        Total::of(&self.layers)
    }
}

impl Convert<'_> {
    /// Converts the file at `path`. `progress` is told each module and how many there are.
    ///
    /// # Errors
    /// When the file cannot be read, the dialect cannot hold or name a module, baking needs a base
    /// that is not there, the algorithm has no place for an update, or a fit fails.
    pub fn run(
        &self,
        path: &Path,
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Converted, RefitError> {
        let modules = Modules::open(path, self.base, self.registry, &self.device, self.compute)?;
        let mut converted = BTreeMap::new();
        let mut leftovers = Leftovers::rewriting(&modules.reader, self.to.is_flat());
        let mut layers = Vec::new();
        let count = modules.reader.modules().count();
        for module in modules.reader.modules() {
            progress(module, count);
            let mut tensors = modules.reader.read(module)?;
            if let Some(bake) = &self.bake {
                let found = modules.read(module, &tensors, &mut leftovers)?;
                tensors = self.baked(bake, &modules, module, found, &mut layers)?;
            }
            converted.insert(module.to_string(), tensors);
        }
        let names = modules.base.as_ref().map(|base| &base.names);
        let file = modules.file(converted)?;
        let mut network = modules.network(&file.modules);
        if self.bake.is_none() {
            network = network.unless_said(&file.metadata);
        }
        Ok(Converted {
            file: file.encode(self.registry, self.to, names, &network)?,
            layers,
            leftovers: leftovers.into_vec(),
            notes: modules.notes(),
            inputs: modules.files(),
        })
    }

    fn baked(
        &self,
        bake: &Bake,
        modules: &Modules,
        module: &str,
        found: Vec<(Found, Resolved)>,
        layers: &mut Vec<Refitted>,
    ) -> Result<Tensors, RefitError> {
        let mut baked = Tensors::new();
        for (found, resolved) in found {
            let site = &resolved.site;
            if bake.choice.kind.sites().contains(&site.kind) {
                let (tensors, fit) = bake.one(modules, module, &found, &resolved)?;
                layers.push(Refitted::of(module, site, fit));
                baked.extend(tensors);
            } else if bake.choice.is_dense() {
                // What a dense algorithm does not adapt, a norm, is a plain difference already.
                baked.extend(found.tensors);
            } else {
                let dense = Choice::all(self.registry).into_iter().find(|(_, it)| it.is_dense());
                return Err(RefitError::NoPlace {
                    path: modules.reader.path().into(),
                    module: module.into(),
                    part: site.kind.name().into(),
                    into: bake.choice.kind.name().into(),
                    instead: dense.map(|(name, _)| name.into()).unwrap_or_default(),
                });
            }
        }
        Ok(baked)
    }
}

impl Bake<'_> {
    fn one(
        &self,
        modules: &Modules,
        module: &str,
        found: &Found,
        resolved: &Resolved,
    ) -> Result<(Tensors, Fit), RefitError> {
        let (into, outline) = (self.choice.kind, found.outline());
        if modules.base.is_none() && outline.unfolded {
            let path = modules.reader.path().into();
            return Err(RefitError::NeedsShape { path, module: module.into() });
        }
        // What has the algorithm already needs no more rank than it has.
        let own = outline.rank.filter(|_| found.kind.name() == into.name());
        let budget = match (self.budget, own) {
            (Budget::Rank(rank), Some(own)) => Budget::Rank(rank.min(own)),
            (budget, _) => budget,
        };
        let dtype = self.dtype.unwrap_or(found.dtype());
        let (tensors, fit) =
            fit(into, module, &resolved.site, &resolved.update(1.0), budget, None, dtype)
                .map_err(FitError::of(modules.reader.path()))?;
        let whole = own.is_some_and(|own| budget == Budget::Rank(own));
        if whole && self.dtype.is_none() && tensors.keys().eq(found.tensors.keys()) {
            Ok((found.tensors.clone(), Fit { error: 0.0, ..fit }))
        } else {
            Ok((tensors, fit))
        }
    }
}
