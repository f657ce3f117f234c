//! The trained tensors of an adapter, by the name of their field, as numbers on the host.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Gradients, Tensor, TensorData},
};
use higanbana_core::DynAdapter;

use super::measure::values;

/// Name and number of values of each trained tensor.
pub(super) fn sizes(adapter: &DynAdapter) -> Vec<(String, usize)> {
    visit(&adapter.clone().train(), |tensor| tensor.len())
        .into_iter()
        .map(|(_, name, size)| (name, size))
        .collect()
}

/// Gradient of each trained tensor of an adapter in training; zeros where the graph misses it.
pub(super) fn gradients(adapter: &DynAdapter, grads: &Gradients) -> Vec<(String, Vec<f64>)> {
    visit(adapter, |tensor| tensor.gradient(grads))
        .into_iter()
        .map(|(_, name, gradient)| (name, gradient))
        .collect()
}

/// Rewrites the values of each trained tensor.
pub(super) fn map(adapter: DynAdapter, change: impl FnMut(&str, &mut Vec<f64>)) -> DynAdapter {
    // Only an adapter in training tells which of its tensors are trained.
    let trained = visit(&adapter.clone().train(), |tensor| tensor.len());
    adapter.map(&mut Rewrite { trained, change })
}

/// A trained tensor of any rank.
trait AnyTrained {
    fn len(&self) -> usize;
    fn gradient(&self, grads: &Gradients) -> Vec<f64>;
}

impl<const D: usize> AnyTrained for Tensor<D> {
    fn len(&self) -> usize {
        self.shape().num_elements()
    }
    fn gradient(&self, grads: &Gradients) -> Vec<f64> {
        self.grad(grads).map_or_else(|| vec![0.0; self.len()], |gradient| values(&gradient))
    }
}

type Named<T> = Vec<(ParamId, String, T)>;

fn visit<T>(adapter: &DynAdapter, ask: impl Fn(&dyn AnyTrained) -> T) -> Named<T> {
    let mut visit = Visit { path: Vec::new(), found: Vec::new(), ask };
    adapter.visit(&mut visit);
    visit.found
}

struct Visit<T, F> {
    path: Vec<String>,
    found: Named<T>,
    ask: F,
}

impl<T, F: Fn(&dyn AnyTrained) -> T> ModuleVisitor for Visit<T, F> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            let index = |part: &&String| part.parse::<usize>().is_err();
            let name = self.path.iter().rfind(index).cloned().unwrap_or_default();
            self.found.push((param.id, name, (self.ask)(&tensor)));
        }
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

struct Rewrite<F> {
    trained: Named<usize>,
    change: F,
}

impl<F: FnMut(&str, &mut Vec<f64>)> ModuleMapper for Rewrite<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((_, name, _)) = self.trained.iter().find(|(id, ..)| *id == param.id) else {
            return param;
        };
        param.map(|tensor| {
            let mut numbers = values(&tensor);
            (self.change)(name, &mut numbers);
            let data = TensorData::new(numbers, tensor.shape());
            Tensor::from_data(data, (&tensor.device(), tensor.dtype()))
        })
    }
}
