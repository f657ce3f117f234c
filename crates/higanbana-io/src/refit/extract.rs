//! An adapter from two checkpoints: what tuning added to each layer, in the form of an algorithm.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{Budget, Kind, Registry, SiteKind};

use super::{
    Choice, FitError, LeftOut, Pair, RefitError, Refitted, Total, fit, fit::norm,
    known::is_embedding,
};
use crate::{
    Dialect, FileError, Names, Target,
    apply::Parameter,
    dialect::{Counted, Network, module_name},
    hash::renew,
    names::Component,
    writer::Draft,
};

/// How to extract.
#[derive(Debug)]
pub struct Extract<'a> {
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// The algorithm to fit.
    pub choice: Choice<'a>,
    /// How much of each layer's difference to keep.
    pub budget: Budget,
    /// Alpha of every module; its rank, so that the scale is 1, if none.
    pub alpha: Option<f64>,
    /// Keep the differences of norms too, exactly.
    pub norms: bool,
    /// Where to compute.
    pub device: Device,
    /// What to compute in: F32 or F64.
    pub compute: DType,
    /// Element type of the file.
    pub dtype: DType,
}

/// What an extraction found.
#[derive(Debug)]
pub struct Extracted {
    /// The adapters, layer by layer.
    pub layers: Vec<Refitted>,
    /// Differences that the file does not hold.
    pub left_out: Vec<LeftOut>,
    /// Number of tensors that are equal.
    pub equal: usize,
    /// Keys of the base alone.
    pub only_in_base: Vec<String>,
    /// Keys of the tuned checkpoint alone.
    pub only_in_tuned: Vec<String>,
    /// How the file spells its names.
    pub dialect: Dialect,
}

impl Extracted {
    /// Of the layers that the file holds.
    pub fn total(&self) -> Total {
        Total::of(&self.layers)
    }

    /// Of everything in which the checkpoints differ.
    pub fn total_of_all(&self) -> Total {
        self.total().without(&self.left_out)
    }
}

impl Extract<'_> {
    /// Fits every layer in which `tuned` differs from `base` and writes the adapter at `out`, named
    /// as kohya's files are if the base is a diffusion model or text encoder, else as LyCORIS's.
    /// Neither checkpoint, nor the adapter, is ever in memory as a whole. `progress` is told each
    /// layer's key.
    ///
    /// # Errors
    /// When a file cannot be read, the checkpoints have nothing in common or do not differ, a tensor
    /// is not finite, a fit fails, or the output exists or cannot be written.
    pub fn run(
        &self,
        base: &Path,
        tuned: &Path,
        out: &Path,
        overwrite: bool,
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Extracted, RefitError> {
        let pair = Pair::open(base, tuned)?;
        let names = Names::new(pair.base.names());
        let known = |component| names.has(component);
        let diffusion = [Component::Unet, Component::TextEncoder, Component::TextEncoder2];
        let diffusion = diffusion.into_iter().any(known);
        let [only_in_base, only_in_tuned] = pair.unpaired();
        let mut run = Run {
            how: self,
            pair: &pair,
            names: &names,
            diffusion,
            draft: Draft::new(out, overwrite)?,
            seen: BTreeSet::new(),
            named: BTreeMap::new(),
            found: Extracted {
                layers: Vec::new(),
                left_out: Vec::new(),
                equal: 0,
                only_in_base,
                only_in_tuned,
                dialect: if diffusion { Dialect::Kohya } else { Dialect::Lycoris },
            },
        };
        for target in names.targets() {
            progress(&target.weight, names.targets().len());
            run.add(target)?;
        }
        run.add_rest()?;
        run.finish()
    }

    /// The algorithm for a kind of parameter.
    fn kind(&self, site: SiteKind) -> Option<&Kind> {
        let norm = matches!(site, SiteKind::Norm | SiteKind::NormBias);
        if self.choice.kind.sites().contains(&site) {
            Some(self.choice.kind)
        } else if norm && (self.norms || self.choice.is_dense()) {
            self.registry.iter().find(|kind| kind.sites().contains(&site))
        } else {
            None
        }
    }
}

/// An extraction under way.
struct Run<'a> {
    how: &'a Extract<'a>,
    pair: &'a Pair,
    names: &'a Names,
    diffusion: bool,
    draft: Draft,
    /// Keys that were looked at.
    seen: BTreeSet<String>,
    /// Names of modules in the file, and the weights that they mean.
    named: BTreeMap<String, String>,
    found: Extracted,
}

impl Run<'_> {
    /// A layer: if one of its parameters differs, each that is adapted is put down, since LyCORIS
    /// loads a bias only beside its weight.
    fn add(&mut self, target: &Target) -> Result<(), RefitError> {
        let Ok(parameters) = Parameter::of(&self.pair.base, target) else { return Ok(()) };
        let mut adapted = Vec::new();
        for parameter in &parameters {
            let key = &parameter.key;
            self.seen.insert(key.clone());
            if !self.pair.same_shape(key) {
                if self.pair.common.contains(key) {
                    self.leave_out(key, "its shape differs".into(), None);
                }
                continue;
            }
            let update = self.update(parameter)?;
            let reason = self.reason_against(target, parameter);
            match (update, reason) {
                (update, None) => adapted.push((parameter, update)),
                (Some((_, norm)), Some(reason)) => self.leave_out(key, reason, Some(norm)),
                (None, Some(_)) => {}
            }
        }
        if adapted.iter().any(|(_, update)| update.is_some()) {
            let module = self.name(target)?;
            for (parameter, update) in adapted {
                self.put(&module, parameter, update.map(|(update, _)| update))?;
            }
        }
        Ok(())
    }

    /// What the file calls a layer; flattened names may coincide.
    fn name(&mut self, target: &Target) -> Result<String, FileError> {
        let name = module_name(self.pair.base.path(), target, self.names, self.found.dialect)?;
        match self.named.insert(name.clone(), target.weight.clone()) {
            None => Ok(name),
            Some(first) => Err(FileError::DuplicateKey {
                path: self.pair.base.path().into(),
                key: name,
                first,
                second: target.weight.clone(),
            }),
        }
    }

    /// What tuning added to a parameter, and its norm; none if nothing.
    fn update(&mut self, parameter: &Parameter) -> Result<Option<(Tensor<2>, f64)>, RefitError> {
        let key = &parameter.key;
        if self.pair.differ(key)? {
            let update = self.pair.difference(parameter, &self.how.device, self.how.compute)?;
            let norm = norm(key, &update).map_err(FitError::of(self.pair.tuned.path()))?;
            if norm > 0.0 {
                return Ok(Some((update, norm)));
            }
        }
        self.found.equal += 1;
        Ok(None)
    }

    /// Why the file is not to hold an adapter of a parameter.
    fn reason_against(&self, target: &Target, parameter: &Parameter) -> Option<String> {
        let (site, algorithm) = (&parameter.site, self.how.choice.kind.name());
        let convolution = !site.kind.is_vector() && site.taps() > 1;
        if self.diffusion && target.component == Component::Model {
            Some("neither the diffusion model's nor a text encoder's".into())
        } else if is_embedding(&site.path) {
            Some("an embedding, which is looked up and not multiplied by".into())
        } else if self.how.kind(site.kind).is_none() {
            Some(format!("a {}, for which {algorithm} has no place", site.kind.name()))
        } else if convolution && !self.how.choice.convolutions {
            Some(format!("a convolution, which {algorithm} leaves alone"))
        } else {
            None
        }
    }

    fn put(
        &mut self,
        module: &str,
        parameter: &Parameter,
        update: Option<Tensor<2>>,
    ) -> Result<(), RefitError> {
        let (site, how) = (&parameter.site, self.how);
        let kind = how.kind(site.kind).expect("nothing speaks against it");
        let update = update.unwrap_or_else(|| {
            Tensor::zeros([site.out(), site.cols()], (&how.device, how.compute))
        });
        // The norms beside have none.
        let alpha = how.alpha.filter(|_| kind.name() == how.choice.kind.name());
        let fitted = fit(kind, module, site, &update, how.budget, alpha, how.dtype);
        let (tensors, fit) = fitted.map_err(FitError::of(self.pair.tuned.path()))?;
        for (key, data) in tensors {
            self.draft.put(format!("{module}.{key}"), &data)?;
        }
        self.found.layers.push(Refitted::of(module, site, fit));
        Ok(())
    }

    /// Tensors that are no layer's.
    fn add_rest(&mut self) -> Result<(), RefitError> {
        for key in self.pair.common.difference(&self.seen.clone()) {
            if !self.pair.same_shape(key) {
                self.leave_out(key, "its shape differs".into(), None);
                continue;
            }
            let norm = if self.pair.differ(key)? {
                let difference =
                    self.pair.difference_of(key, &self.how.device, self.how.compute)?;
                norm(key, &difference).map_err(FitError::of(self.pair.tuned.path()))?
            } else {
                0.0
            };
            if norm > 0.0 {
                self.leave_out(key, "no layer's weight or bias".into(), Some(norm));
            } else {
                self.found.equal += 1;
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, key: &str, reason: String, norm: Option<f64>) {
        self.found.left_out.push(LeftOut { key: key.into(), reason, norm });
    }

    fn finish(self) -> Result<Extracted, RefitError> {
        let algorithm = self.how.choice.kind.name();
        if self.found.layers.is_empty() {
            return Err(RefitError::NoDifference {
                base: self.pair.base.path().into(),
                tuned: self.pair.tuned.path().into(),
                algorithm: algorithm.into(),
                equal: self.found.equal,
                others: self.found.left_out.len(),
            });
        }
        let modules = self.found.layers.iter().filter_map(|layer| {
            let kind = self.how.registry.get(&layer.fit.algorithm)?;
            Some(Counted { kind, rank: layer.fit.rank, alpha: self.how.alpha })
        });
        let base = &self.pair.base;
        let network = Network::counting(modules)
            .on(self.names, |key| base.info(key).map(|info| info.shape.as_slice()));
        let dialect = self.found.dialect;
        self.draft.write(|hash| {
            let mut metadata = BTreeMap::new();
            network.describe(&mut metadata);
            renew(&mut metadata, hash, dialect);
            metadata
        })?;
        Ok(self.found)
    }
}
