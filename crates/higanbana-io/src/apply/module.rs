//! The adapters that a module of a file holds.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{AdapterError, DynAdapter, Kind, Parts, Registry, Site, SiteKind, Tensors};

/// A module of an adapter file, read for the parameters of one layer.
#[derive(Debug)]
pub struct Module {
    /// For each parameter its adapter, if the module has one for it.
    pub adapters: Vec<Option<DynAdapter>>,
    /// Keys that none of them used.
    pub unused: Vec<String>,
}

impl Module {
    /// The parameter of kind `kind` that `tensors` adapt by `algorithm`, as far as they tell.
    pub fn site(module: &str, kind: SiteKind, algorithm: &Kind, tensors: &Tensors) -> Option<Site> {
        let shape = algorithm.outline(kind, tensors).shape.filter(|shape| is_buildable(shape))?;
        let kind = if kind.is_vector() { kind } else { SiteKind::of_rank(shape.len())? };
        Some(Site::new(module, kind, shape))
    }

    /// Reads the tensors of `module` for the parameters of a layer, each with its value where that
    /// is at hand: a layer's weight and its bias may each have an adapter.
    ///
    /// # Errors
    ///
    /// When tensors contradict each other or a parameter, or follow from a value that is not given.
    pub fn read(
        registry: &Registry,
        module: &str,
        tensors: &Tensors,
        parameters: &[(&Site, Option<&Tensor<2>>)],
        device: &Device,
        dtype: DType,
    ) -> Result<Self, AdapterError> {
        let mut unused: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let mut adapters = Vec::new();
        for (site, value) in parameters {
            let Some(kind) = registry.detect(site.kind, tensors) else {
                adapters.push(None);
                continue;
            };
            let mut parts = Parts::new(module, tensors, device, dtype);
            if let Some(value) = value {
                parts = parts.with_base(value);
            }
            adapters.push(Some(kind.read(site, &parts)?));
            let here = parts.unused();
            unused.retain(|key| here.contains(key));
        }
        let unused = unused.into_iter().map(String::from).collect();
        Ok(Self { adapters, unused })
    }
}

/// Whether a layer can have this shape: factors in a small file may claim any product.
fn is_buildable(shape: &[usize]) -> bool {
    const LARGEST: usize = 1 << 31;
    let values = shape.iter().try_fold(1usize, |values, &size| values.checked_mul(size));
    !shape.is_empty() && values.is_some_and(|values| (1..=LARGEST).contains(&values))
}
