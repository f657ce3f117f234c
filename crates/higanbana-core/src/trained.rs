//! The trained tensors of an adapter as numbers on the host: by the name of their field, or all of
//! them as one vector $\theta$.

use crate::{DynAdapter, Init, Site, SiteKind, device::cpu};
use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{DType, Gradients, Tensor, TensorData},
};

/// Name and number of values of each trained tensor.
pub fn sizes(adapter: &DynAdapter) -> Vec<(String, usize)> {
    visit(&adapter.clone().train(), |tensor| tensor.len())
        .into_iter()
        .map(|(_, name, size)| (name, size))
        .collect()
}

/// Gradient of each trained tensor of an adapter in training; zeros where the graph misses it.
pub fn gradients(adapter: &DynAdapter, grads: &Gradients) -> Vec<(String, Vec<f64>)> {
    visit(adapter, |tensor| tensor.gradient(grads))
        .into_iter()
        .map(|(_, name, gradient)| (name, gradient))
        .collect()
}

/// Rewrites the values of each trained tensor.
pub fn map(adapter: DynAdapter, change: impl FnMut(&str, &mut Vec<f64>)) -> DynAdapter {
    // Only an adapter in training tells which of its tensors are trained.
    let trained = visit(&adapter.clone().train(), |tensor| tensor.len());
    adapter.map(&mut Rewrite { trained, change })
}

/// All values, $\theta$.
pub fn values(adapter: &DynAdapter) -> Vec<f64> {
    let found = visit(&adapter.clone().train(), |tensor| tensor.values());
    found.into_iter().flat_map(|(_, _, values)| values).collect()
}

/// The same adapter at another $\theta$.
///
/// # Panics
/// When there are too few numbers.
pub fn with_values(adapter: DynAdapter, theta: &[f64]) -> DynAdapter {
    // A mapper meets the parameters in the order in which a visitor does.
    let mut rest = theta;
    map(adapter, |_, values| {
        let (own, others) = rest.split_at(values.len());
        values.copy_from_slice(own);
        rest = others;
    })
}

/// The same adapter with normal noise of this deviation on every value: a point in general position.
pub fn shaken(adapter: DynAdapter, std: f64, seed: u64) -> DynAdapter {
    let like = Tensor::zeros([1, 1], (&cpu(), DType::F64));
    let mut noise = Init::new(&Site::new("noise", SiteKind::Linear, [1, 1]), like, seed);
    map(adapter, |_, values| {
        let noise = numbers(&noise.normal([values.len()], std));
        values.iter_mut().zip(noise).for_each(|(value, noise)| *value += noise);
    })
}

/// A trained tensor of any rank.
trait AnyTrained {
    fn len(&self) -> usize;
    fn values(&self) -> Vec<f64>;
    fn gradient(&self, grads: &Gradients) -> Vec<f64>;
}

impl<const D: usize> AnyTrained for Tensor<D> {
    fn len(&self) -> usize {
        self.shape().num_elements()
    }
    fn values(&self) -> Vec<f64> {
        numbers(self)
    }
    fn gradient(&self, grads: &Gradients) -> Vec<f64> {
        self.grad(grads).map_or_else(|| vec![0.0; self.len()], |gradient| numbers(&gradient))
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
            let mut values = numbers(&tensor);
            (self.change)(name, &mut values);
            let data = TensorData::new(values, tensor.shape());
            Tensor::from_data(data, (&tensor.device(), tensor.dtype()))
        })
    }
}

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}
