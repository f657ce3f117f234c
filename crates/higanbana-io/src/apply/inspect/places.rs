//! The parameters that a module adapts, with a base or without one.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{AdapterError, DynAdapter, Kind, Registry, Site, SiteKind, Tensors};

use super::Row;
use crate::apply::{ApplyError, Module, Parameter};
use crate::{Checkpoint, Target};

/// A parameter that a module adapts, as far as it is known.
pub(super) struct Place<'a> {
    algorithm: &'a Kind,
    kind: SiteKind,
    site: Option<Site>,
    key: Option<String>,
    value: Option<Tensor<2>>,
    device: Device,
}

/// Kinds of parameters that a module's weight, and its bias, can be.
const WEIGHTS: &[SiteKind] =
    &[SiteKind::Linear, SiteKind::Conv1d, SiteKind::Conv2d, SiteKind::Conv3d, SiteKind::Norm];
const BIASES: &[SiteKind] = &[SiteKind::Bias, SiteKind::NormBias];

/// The parameters of the base that a module means and has adapters for.
pub(super) fn of<'a>(
    base: &Checkpoint,
    target: &Target,
    tensors: &Tensors,
    registry: &'a Registry,
    device: &Device,
) -> Result<Vec<Place<'a>>, ApplyError> {
    let mut places = Vec::new();
    for parameter in Parameter::of(base, target)? {
        let Some(algorithm) = registry.detect(parameter.site.kind, tensors) else { continue };
        let value = Some(parameter.read(base, device, DType::F32)?);
        let (kind, site) = (parameter.site.kind, Some(parameter.site));
        places.push(Place {
            algorithm,
            kind,
            site,
            key: Some(parameter.key),
            value,
            device: device.clone(),
        });
    }
    Ok(places)
}

/// The parameters that a module adapts, told by its tensors alone.
pub(super) fn guess<'a>(
    module: &str,
    tensors: &Tensors,
    registry: &'a Registry,
    device: &Device,
) -> Vec<Place<'a>> {
    let first = |kinds: &&[SiteKind]| {
        kinds.iter().find_map(|&kind| {
            let algorithm = registry.detect(kind, tensors)?;
            let site = Module::site(module, kind, algorithm, tensors);
            Some(Place { algorithm, kind, site, key: None, value: None, device: device.clone() })
        })
    };
    [WEIGHTS, BIASES].iter().filter_map(first).collect()
}

/// Reads the adapters of a module; none of them where one depends on a base weight that is not at
/// hand.
pub(super) fn read(
    places: &[Place],
    module: &str,
    tensors: &Tensors,
    registry: &Registry,
    device: &Device,
) -> Result<Module, AdapterError> {
    let unread = || Module { adapters: places.iter().map(|_| None).collect(), unused: Vec::new() };
    let sites = places.iter().map(Place::at_hand).collect::<Option<Vec<_>>>();
    let Some(sites) = sites else { return Ok(unread()) };
    match Module::read(registry, module, tensors, &sites, device, DType::F32) {
        Err(AdapterError::NeedsBase { .. }) => Ok(unread()),
        read => read,
    }
}

impl Place<'_> {
    /// The site, and its value where that matters; none if either is not known.
    fn at_hand(&self) -> Option<(&Site, Option<&Tensor<2>>)> {
        let known = self.value.is_some() || !self.algorithm.needs_base();
        Some((self.site.as_ref().filter(|_| known)?, self.value.as_ref()))
    }

    /// What there is to say about it.
    pub fn row(
        &self,
        module: &str,
        tensors: &Tensors,
        adapter: Option<DynAdapter>,
        dtype: &str,
    ) -> Row {
        let read = self.site.as_ref().zip(adapter.as_ref());
        let alpha = tensors.get("alpha").filter(|alpha| alpha.num_elements() == 1);
        Row {
            module: module.into(),
            parameter: match self.kind {
                SiteKind::Bias | SiteKind::NormBias => "bias",
                _ => "weight",
            },
            key: self.key.clone(),
            algorithm: self.algorithm.name(),
            shape: self.site.as_ref().map(|site| site.shape.clone()),
            rank: self.algorithm.outline(self.kind, tensors).rank,
            alpha: alpha.and_then(|alpha| alpha.iter::<f64>().next()),
            parameters: match read {
                Some((site, adapter)) => adapter.parameter_count(site),
                None => stored(tensors),
            },
            dtype: dtype.into(),
            norm: read.map(|(site, adapter)| self.norm(site, adapter)),
        }
    }

    /// ‖W(1) − W₀‖ in the Frobenius norm, summed in f64.
    fn norm(&self, site: &Site, adapter: &DynAdapter) -> f64 {
        // Where the update does not depend on the weight, any will do.
        let any = || Tensor::zeros([site.out(), site.cols()], &self.device);
        let w0 = self.value.clone().unwrap_or_else(any);
        let update = adapter.update_at(site, &w0, 1.0).into_data();
        update.iter::<f64>().map(|x| x * x).sum::<f64>().sqrt()
    }
}

/// Values in a module's tensors, without lone numbers such as `alpha`.
fn stored(tensors: &Tensors) -> usize {
    tensors.values().map(|data| data.num_elements()).filter(|&elements| elements > 1).sum()
}
