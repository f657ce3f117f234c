//! What a module of an adapter file adapts, told by its base or by its tensors alone.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{DynAdapter, Kind, Outline, Parts, Registry, Site, SiteKind, Tensors};

use super::RefitError;
use crate::apply::{ApplyError, Parameter};
use crate::{AdapterFile, AdapterReader, Checkpoint, Names};

/// A base checkpoint and the names of its parameters.
#[derive(Debug)]
pub(super) struct Base {
    pub checkpoint: Checkpoint,
    pub names: Names,
}

impl Base {
    pub fn open(path: &Path) -> Result<Self, RefitError> {
        let checkpoint = Checkpoint::open(path)?;
        let names = Names::new(checkpoint.names());
        Ok(Self { checkpoint, names })
    }
}

/// The modules of an adapter file, and what is needed to compute with them.
pub(super) struct Modules<'a> {
    pub registry: &'a Registry,
    pub reader: &'a AdapterReader,
    pub base: Option<&'a Base>,
    pub device: &'a Device,
    pub dtype: DType,
}

/// An adapter of one parameter.
pub(super) struct Held<'a> {
    pub kind: &'a dyn Kind,
    pub site: Site,
    pub adapter: DynAdapter,
    /// Tensors of the module that it uses.
    pub tensors: Tensors,
    /// The frozen weight; where the update does not follow from it, anything of its shape.
    pub w0: Tensor<2>,
}

impl Held<'_> {
    /// $W(1) - W_0$.
    pub fn update(&self) -> Tensor<2> {
        self.adapter.update_at(&self.site, &self.w0, 1.0)
    }

    /// What its tensors tell without a base.
    pub fn outline(&self) -> Outline {
        self.kind.outline(self.site.kind, &self.tensors)
    }

    /// Rank, where the algorithm has one.
    pub fn rank(&self) -> Option<usize> {
        self.outline().rank
    }

    /// Element type of its tensors: of the largest.
    pub fn dtype(&self) -> DType {
        let largest = self.tensors.values().max_by_key(|data| data.num_elements());
        largest.map_or(DType::F32, |data| data.dtype())
    }
}

impl<'a> Modules<'a> {
    /// The file, without any module yet.
    pub fn file(&self) -> AdapterFile {
        AdapterFile {
            path: self.reader.path().into(),
            dialect: self.reader.dialect(),
            modules: BTreeMap::new(),
            metadata: self.reader.metadata().clone(),
            unused: Vec::new(),
        }
    }

    /// What a user should know, one line each: notes, and tensors that are no adapter's.
    pub fn notes(&self) -> Vec<String> {
        let unused = self.reader.unused().iter().map(|unused| format!("left out: {unused}"));
        self.reader.notes().iter().cloned().chain(unused).collect()
    }

    /// The adapters of a module, each for a parameter of its own.
    ///
    /// # Errors
    ///
    /// When the base has no such module or is needed and not there, no algorithm has the tensors, or
    /// they contradict each other.
    pub fn read(&self, module: &str) -> Result<Vec<Held<'a>>, RefitError> {
        let tensors = self.reader.read(module)?;
        let held = match self.base {
            Some(base) => self.at_base(module, &tensors, base)?,
            None => self.alone(module, &tensors)?,
        };
        if held.is_empty() {
            return Err(RefitError::Unknown {
                path: self.reader.path().into(),
                module: module.into(),
                keys: tensors.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            });
        }
        Ok(held)
    }

    fn at_base(
        &self,
        module: &str,
        tensors: &Tensors,
        base: &Base,
    ) -> Result<Vec<Held<'a>>, RefitError> {
        let target = base.names.expect(module)?;
        let mut held = Vec::new();
        for parameter in Parameter::of(&base.checkpoint, target)? {
            let Some(kind) = self.registry.detect(parameter.site.kind, tensors) else { continue };
            let w0 = match kind.needs_base() {
                true => Some(parameter.read(&base.checkpoint, self.device, self.dtype)?),
                false => None,
            };
            held.push(self.hold(module, tensors, kind, parameter.site, w0)?);
        }
        Ok(held)
    }

    fn alone(&self, module: &str, tensors: &Tensors) -> Result<Vec<Held<'a>>, RefitError> {
        let path = || self.reader.path().to_path_buf();
        let mut held = Vec::new();
        for site in [SiteKind::Linear, SiteKind::Bias, SiteKind::Norm, SiteKind::NormBias] {
            let Some(kind) = self.registry.detect(site, tensors) else { continue };
            let (module, algorithm) = (module.to_string(), kind.name().to_string());
            if kind.needs_base() {
                return Err(RefitError::NeedsBase { path: path(), module, algorithm });
            }
            let shape = kind.outline(site, tensors).shape.filter(|shape| !shape.contains(&0));
            let found = shape.and_then(|shape| {
                let site = if site.is_vector() { site } else { SiteKind::of_rank(shape.len())? };
                Some(Site::new(&module, site, shape))
            });
            let site = found.ok_or_else(|| RefitError::NeedsShape { path: path(), module })?;
            held.push(self.hold(&site.path.clone(), tensors, kind, site, None)?);
        }
        Ok(held)
    }

    fn hold(
        &self,
        module: &str,
        tensors: &Tensors,
        kind: &'a dyn Kind,
        site: Site,
        w0: Option<Tensor<2>>,
    ) -> Result<Held<'a>, RefitError> {
        let w0 = w0
            .unwrap_or_else(|| Tensor::zeros([site.out(), site.cols()], (self.device, self.dtype)));
        let parts = Parts::new(module, tensors, self.device, self.dtype).with_base(&w0);
        let failed = ApplyError::adapter(self.reader.path());
        let adapter = kind.read(&site, &parts).map_err(failed)?;
        let unused = parts.unused();
        let used = tensors.iter().filter(|(key, _)| !unused.contains(&key.as_str()));
        let tensors = used.map(|(key, data)| (key.clone(), data.clone())).collect();
        Ok(Held { kind, site, adapter, tensors, w0 })
    }
}
