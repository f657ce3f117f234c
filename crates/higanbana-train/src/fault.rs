//! Where numbers stop being finite.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::Tensor,
};

use crate::{network::Network, place::Place};

/// The path of the first gradient that is not finite.
pub(crate) fn gradient(network: &Network, gradients: &GradientsParams) -> Option<String> {
    first(network, gradients)
}

/// The path of the layer with this weight.
pub(crate) fn layer(network: &Network, weight: ParamId) -> Option<String> {
    first(network, &weight)?.strip_suffix(".weight").map(String::from)
}

/// What may be wrong with a parameter.
trait Fault {
    fn is_in<const D: usize>(&self, param: &Param<Tensor<D>>) -> bool;
}

impl Fault for GradientsParams {
    fn is_in<const D: usize>(&self, param: &Param<Tensor<D>>) -> bool {
        let gradient = self.get::<D>(param.id);
        gradient.is_some_and(|gradient| !gradient.is_finite().all().into_scalar::<bool>())
    }
}

impl Fault for ParamId {
    fn is_in<const D: usize>(&self, param: &Param<Tensor<D>>) -> bool {
        param.id == *self
    }
}

fn first(network: &Network, fault: &impl Fault) -> Option<String> {
    struct Visit<'a, F> {
        place: Place,
        fault: &'a F,
        found: Option<String>,
    }
    impl<F: Fault> ModuleVisitor for Visit<'_, F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.found.is_none() && self.fault.is_in(param) {
                self.found = Some(self.place.path());
            }
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.place.exit(container);
        }
    }
    let mut visit = Visit { place: Place::default(), fault, found: None };
    network.visit(&mut visit);
    visit.found
}
