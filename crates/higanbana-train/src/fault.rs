//! Where numbers stop being finite.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use crate::network::Network;

/// The path of the first gradient that is not finite.
pub(crate) fn gradient(network: &Network, gradients: &GradientsParams) -> Option<String> {
    struct Visit<'a> {
        path: Vec<String>,
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
                self.found = Some(self.path.join("."));
            }
        }
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
    }
    let mut visit = Visit { path: Vec::new(), gradients, found: None };
    network.visit(&mut visit);
    visit.found
}
