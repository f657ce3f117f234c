//! What the modules of an adapter file adapt, told by a base or by their tensors alone.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{
    AdapterError, DynAdapter, Kind, Outline, Parts, Registry, Site, SiteKind, Tensors,
};

use super::RefitError;
use crate::apply::{ApplyError, Module, Parameter, stems};
use crate::{AdapterFile, AdapterReader, Checkpoint, Names};

/// The modules of an adapter file, and what is needed to compute with them.
pub(super) struct Modules<'a> {
    pub reader: AdapterReader,
    pub base: Option<(Checkpoint, Names)>,
    registry: &'a Registry,
    device: &'a Device,
    dtype: DType,
}

/// An adapter of one parameter.
pub(super) struct Held<'a> {
    pub kind: &'a Kind,
    pub site: Site,
    pub adapter: DynAdapter,
    /// Tensors of the module that it uses.
    pub tensors: Tensors,
    /// The frozen weight; without a base, which then does not matter, zeros.
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

    /// Element type of its tensors: of the largest.
    pub fn dtype(&self) -> DType {
        let largest = self.tensors.values().max_by_key(|data| data.num_elements());
        largest.map_or(DType::F32, |data| data.dtype())
    }
}

impl<'a> Modules<'a> {
    /// Opens a file, and its base if there is one.
    pub fn open(
        path: &Path,
        base: Option<&Path>,
        registry: &'a Registry,
        device: &'a Device,
        dtype: DType,
    ) -> Result<Self, RefitError> {
        let reader = AdapterReader::open(path, &stems(registry))?;
        let base = base.map(Checkpoint::open).transpose()?.map(|base| {
            let names = Names::new(base.names());
            (base, names)
        });
        Ok(Self { reader, base, registry, device, dtype })
    }

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

    /// Whether the adapter of a layer's weight in these tensors has a rank.
    pub fn has_rank(&self, tensors: &Tensors) -> bool {
        let layer = SiteKind::Linear;
        let kind = self.registry.detect(layer, tensors);
        kind.is_some_and(|kind| kind.outline(layer, tensors).rank.is_some())
    }

    /// The adapters of a module, each for a parameter of its own.
    ///
    /// # Errors
    ///
    /// When the base has no such module or is needed and not there, no algorithm has the tensors, or
    /// they contradict each other.
    pub fn read(&self, module: &str, tensors: &Tensors) -> Result<Vec<Held<'a>>, RefitError> {
        let held = match &self.base {
            Some((base, names)) => self.at_base(module, tensors, base, names)?,
            None => self.alone(module, tensors)?,
        };
        match held.is_empty() {
            false => Ok(held),
            true => Err(RefitError::Unknown {
                path: self.reader.path().into(),
                module: module.into(),
                keys: tensors.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn at_base(
        &self,
        module: &str,
        tensors: &Tensors,
        base: &Checkpoint,
        names: &Names,
    ) -> Result<Vec<Held<'a>>, RefitError> {
        let mut held = Vec::new();
        for parameter in Parameter::of(base, names.expect(module)?)? {
            let Some(kind) = self.registry.detect(parameter.site.kind, tensors) else { continue };
            let w0 = parameter.read(base, self.device, self.dtype)?;
            held.push(self.hold(module, tensors, kind, parameter.site, Some(w0))?);
        }
        Ok(held)
    }

    fn alone(&self, module: &str, tensors: &Tensors) -> Result<Vec<Held<'a>>, RefitError> {
        let mut held = Vec::new();
        for site in [SiteKind::Linear, SiteKind::Bias, SiteKind::Norm, SiteKind::NormBias] {
            let Some(kind) = self.registry.detect(site, tensors) else { continue };
            if kind.needs_base() {
                return Err(self.needs_base(module, kind));
            }
            let site = Module::site(module, site, kind, tensors).ok_or_else(|| {
                RefitError::NeedsShape { path: self.reader.path().into(), module: module.into() }
            })?;
            held.push(self.hold(module, tensors, kind, site, None)?);
        }
        Ok(held)
    }

    fn hold(
        &self,
        module: &str,
        tensors: &Tensors,
        kind: &'a Kind,
        site: Site,
        w0: Option<Tensor<2>>,
    ) -> Result<Held<'a>, RefitError> {
        let mut parts = Parts::new(module, tensors, self.device, self.dtype);
        if let Some(w0) = &w0 {
            parts = parts.with_base(w0);
        }
        let adapter = kind.read(&site, &parts).map_err(|error| match error {
            AdapterError::NeedsBase { .. } => self.needs_base(module, kind),
            error => ApplyError::adapter(self.reader.path())(error).into(),
        })?;
        let unused = parts.unused();
        let used = tensors.iter().filter(|(key, _)| !unused.contains(&key.as_str()));
        let tensors = used.map(|(key, data)| (key.clone(), data.clone())).collect();
        let zeros = || Tensor::zeros([site.out(), site.cols()], (self.device, self.dtype));
        let w0 = w0.clone().unwrap_or_else(zeros);
        Ok(Held { kind, site, adapter, tensors, w0 })
    }

    fn needs_base(&self, module: &str, kind: &Kind) -> RefitError {
        RefitError::NeedsBase {
            path: self.reader.path().into(),
            module: module.into(),
            algorithm: kind.name().into(),
        }
    }
}
