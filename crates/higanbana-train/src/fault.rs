//! Where numbers stop being finite.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use crate::{network::Network, place::Place};

/// The path of the first gradient that is not finite.
pub(crate) fn gradient(network: &Network, gradients: &GradientsParams) -> Option<String> {
    struct Visit<'a> {
        place: Place,
        gradients: &'a GradientsParams,
        found: Option<String>,
    }
    impl ModuleVisitor for Visit<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.found.is_some() {
                return;
            }
            let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
            if !gradient.is_finite().all().into_scalar::<bool>() {
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
    let mut visit = Visit { place: Place::default(), gradients, found: None };
    network.visit(&mut visit);
    visit.found
}
