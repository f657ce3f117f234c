//! The adapters that a module of a file holds, told by a base or by the module's tensors alone: one
//! reader for whoever merges, inspects, converts or loads.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{
    AdapterError, DynAdapter, Kind, Outline, Parts, Registry, Site, SiteKind, Tensors,
};

use super::{ApplyError, Parameter};
use crate::AdapterReader;

/// How the modules of a file are read.
#[derive(Debug, Clone, Copy)]
pub struct ModuleReader<'a> {
    /// The file.
    pub file: &'a AdapterReader,
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// Where to compute, where no frozen weight tells.
    pub device: &'a Device,
    /// What to compute in, F32 or F64, where no frozen weight tells.
    pub dtype: DType,
}

/// What a module holds.
#[derive(Debug)]
pub struct Holding<'a> {
    /// Its adapters: a layer's weight and its bias may each have one.
    pub found: Vec<Found<'a>>,
    /// Keys that none of them uses.
    pub unused: Vec<String>,
}

/// An adapter of one parameter.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its algorithm.
    pub kind: &'a Kind,
    /// What it adapts; without a base, the first kind of parameter that its tensors fit.
    pub at: SiteKind,
    /// The parameter of the base, if one was given.
    pub parameter: Option<Parameter>,
    /// Tensors of the module that it uses.
    pub tensors: Tensors,
    /// The adapter, unless something that its update follows from is not known.
    pub resolved: Option<Resolved>,
}

/// An adapter with all that its update follows from.
#[derive(Debug)]
pub struct Resolved {
    /// The parameter.
    pub site: Site,
    /// The adapter.
    pub adapter: DynAdapter,
    /// The frozen weight; where it was not given it does not matter, and is zeros.
    pub w0: Tensor<2>,
}

impl Resolved {
    /// $W(\mu) - W_0$.
    pub fn update(&self, strength: f64) -> Tensor<2> {
        self.adapter.update_at(&self.site, &self.w0, strength)
    }
}

impl Found<'_> {
    /// What its tensors tell without a base.
    pub fn outline(&self) -> Outline {
        self.kind.outline(self.at, &self.tensors)
    }

    /// Element type of its tensors: of the largest, flags aside.
    pub fn dtype(&self) -> DType {
        let floats = self.tensors.values().filter(|data| data.dtype().is_float());
        floats.max_by_key(|data| data.num_elements()).map_or(DType::F32, |data| data.dtype())
    }
}

/// Kinds of parameters that a module's weight, and its bias, can be.
const WEIGHTS: &[SiteKind] =
    &[SiteKind::Linear, SiteKind::Conv1d, SiteKind::Conv2d, SiteKind::Conv3d, SiteKind::Norm];
const BIASES: &[SiteKind] = &[SiteKind::Bias, SiteKind::NormBias];

/// What adapts the weight of a layer in these tensors, and the kind of weight that they fit.
pub(crate) fn of_weight<'a>(
    registry: &'a Registry,
    tensors: &Tensors,
) -> Option<(SiteKind, &'a Kind)> {
    first(registry, WEIGHTS, tensors)
}

fn first<'a>(
    registry: &'a Registry,
    kinds: &[SiteKind],
    tensors: &Tensors,
) -> Option<(SiteKind, &'a Kind)> {
    let found = || kinds.iter().filter_map(|&at| Some((at, registry.detect(at, tensors)?)));
    // As the registry does for one kind: a first key tells more than a trace.
    let first = found().find(|(_, kind)| tensors.contains_key(kind.keys()[0]));
    first.or_else(|| found().next())
}

/// Where a module may hold an adapter.
struct Place {
    at: SiteKind,
    parameter: Option<Parameter>,
}

impl<'a> ModuleReader<'a> {
    /// The adapters of `module` for these parameters of a layer. `value` gives a parameter's frozen
    /// weight, where that is at hand.
    ///
    /// # Errors
    /// When tensors contradict each other or a parameter, or `value` fails.
    pub fn at_base(
        &self,
        module: &str,
        tensors: &Tensors,
        parameters: Vec<Parameter>,
        value: impl Fn(&Parameter) -> Result<Option<Tensor<2>>, ApplyError>,
    ) -> Result<Holding<'a>, ApplyError> {
        let places = parameters
            .into_iter()
            .map(|parameter| Place { at: parameter.site.kind, parameter: Some(parameter) });
        self.read(module, tensors, places, value)
    }

    /// The adapters of `module`, as far as its tensors tell of them.
    ///
    /// # Errors
    /// When tensors contradict each other.
    pub fn alone(&self, module: &str, tensors: &Tensors) -> Result<Holding<'a>, ApplyError> {
        let places = [WEIGHTS, BIASES].into_iter().filter_map(|kinds| {
            first(self.registry, kinds, tensors).map(|(at, _)| Place { at, parameter: None })
        });
        self.read(module, tensors, places, |_| Ok(None))
    }

    fn read(
        &self,
        module: &str,
        tensors: &Tensors,
        places: impl Iterator<Item = Place>,
        value: impl Fn(&Parameter) -> Result<Option<Tensor<2>>, ApplyError>,
    ) -> Result<Holding<'a>, ApplyError> {
        let mut unused: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let mut found = Vec::new();
        for place in places {
            let Some(kind) = self.registry.detect(place.at, tensors) else { continue };
            let w0 = place.parameter.as_ref().map(&value).transpose()?.flatten();
            let one = self.read_one(module, tensors, kind, place, w0)?;
            unused.retain(|key| !one.tensors.contains_key(*key));
            found.push(one);
        }
        Ok(Holding { found, unused: unused.into_iter().map(String::from).collect() })
    }

    fn read_one(
        &self,
        module: &str,
        tensors: &Tensors,
        kind: &'a Kind,
        Place { at, parameter }: Place,
        w0: Option<Tensor<2>>,
    ) -> Result<Found<'a>, ApplyError> {
        let (device, dtype) = match &w0 {
            Some(w0) => (w0.device(), w0.dtype()),
            None => (self.device.clone(), self.dtype),
        };
        let mut parts =
            Parts::new(module, tensors, &device, dtype).with_arguments(self.file.arguments());
        if let Some(w0) = &w0 {
            parts = parts.with_base(w0);
        }
        let (site, is_whole) = match &parameter {
            Some(parameter) => (Some(parameter.site.clone()), true),
            None => guess(module, at, &kind.outline(at, tensors)),
        };
        let Some(site) = site else {
            // Nothing is known of what it uses, but perhaps that something is missing.
            let read = kind.read(&Site::new(module, at, [1, 1]), &parts.probing());
            if let Err(error @ AdapterError::Missing { .. }) = read {
                return Err(ApplyError::adapter(self.file.path())(error));
            }
            let tensors = tensors.clone();
            return Ok(Found { kind, at, parameter, tensors, resolved: None });
        };
        let adapter = match kind.read(&site, &parts) {
            Ok(adapter) => Some(adapter),
            Err(AdapterError::NeedsBase { .. }) => None,
            Err(error) => return Err(ApplyError::adapter(self.file.path())(error)),
        };
        let unused = parts.unused();
        let used = tensors.iter().filter(|(key, _)| !unused.contains(&key.as_str()));
        let tensors = used.map(|(key, data)| (key.clone(), data.clone())).collect();
        let is_known = is_whole && (w0.is_some() || !kind.needs_base());
        let resolved = adapter.filter(|_| is_known).map(|adapter| {
            let zeros = || Tensor::zeros([site.out(), site.cols()], (&device, dtype));
            let w0 = w0.unwrap_or_else(zeros);
            Resolved { site, adapter, w0 }
        });
        Ok(Found { kind, at, parameter, tensors, resolved })
    }
}

/// The parameter that an outline tells of, and whether it tells all. A size that it leaves open is
/// taken to be 1, which does to see what an adapter reads of its tensors.
fn guess(module: &str, at: SiteKind, outline: &Outline) -> (Option<Site>, bool) {
    let shape: Vec<usize> = outline.shape.iter().map(|size| size.unwrap_or(1)).collect();
    let at = if at.is_vector() { Some(at) } else { SiteKind::of_rank(shape.len()) };
    let at = at.filter(|_| is_buildable(&shape));
    (at.map(|at| Site::new(module, at, shape)), outline.whole_shape().is_some())
}

/// Whether a layer can have this shape: factors in a small file may claim any product.
fn is_buildable(shape: &[usize]) -> bool {
    const LARGEST: usize = 1 << 31;
    let values = shape.iter().try_fold(1usize, |values, &size| values.checked_mul(size));
    !shape.is_empty() && values.is_some_and(|values| (1..=LARGEST).contains(&values))
}
