//! Initial values of the trained tensors, and which layer each of them belongs to.

use burn::{
    module::{ModuleMapper, Param},
    tensor::{Tensor, TensorData},
};
use higanbana_core::{Init, Site, SiteKind};
use higanbana_train::Place;

/// The last name of a path that is no index.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or_default()
}

/// The site whose adapter has a tensor of this path.
pub(super) fn site_of(sites: &[(Site, Tensor<2>)], path: &str) -> Option<usize> {
    sites.iter().position(|(site, _)| {
        let below = path.strip_prefix(site.path.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let adapters = below.and_then(|below| below.strip_prefix(parameter(site.kind)));
        adapters.is_some_and(|rest| rest.starts_with(".adapters."))
    })
}

/// The field of a layer that holds a parameter of this kind.
fn parameter(kind: SiteKind) -> &'static str {
    use SiteKind::{Bias, Norm, NormBias};
    match kind {
        Norm => "gamma",
        NormBias => "beta",
        Bias => "bias",
        _ => "weight",
    }
}

/// Initial values: as they are, or with noise; divided by the factor, and multiplied by it again for
/// the training without $\gamma$.
pub(super) struct Initial<'a> {
    pub place: Place,
    pub noise: Option<Init>,
    /// $a$ of a parameter; `None` for one that is no adapter's.
    pub factor: &'a dyn Fn(&str) -> Option<f64>,
    pub multiplied: bool,
}

impl ModuleMapper for Initial<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let Some(a) = (self.factor)(&self.place.path()) else { return param };
        let size = param.lazy_shape().num_elements();
        let noise: Option<Vec<f64>> = self
            .noise
            .as_mut()
            .map(|init| init.normal::<1>([size], 0.3).to_data().iter::<f64>().collect());
        let multiplied = self.multiplied;
        param.map(|tensor| {
            let (device, dtype, shape) = (tensor.device(), tensor.dtype(), tensor.shape());
            let mut values: Vec<f64> = tensor.to_data().iter::<f64>().collect();
            if let Some(noise) = &noise {
                values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
            }
            let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), (&device, dtype));
            let divided = tensor.div_scalar(a);
            let value = if multiplied { divided.mul_scalar(a) } else { divided };
            value.autodiff().require_grad()
        })
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        self.place.exit(container);
    }
}
