//! The trained tensors of a model, by the paths of their parameters.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, TensorData},
};
use sha2::{Digest, Sha256};

/// Tensors by path.
pub type Weights = BTreeMap<String, TensorData>;

/// What Burn calls the way into adapters.
const ADAPTERS: &str = "Reparameterization";

/// The trained tensors of a model.
pub fn read<M: Module>(model: &M) -> Weights {
    let mut visit = Read::default();
    model.visit(&mut visit);
    visit.weights
}

/// A model with other trained tensors; those that are not named stay.
pub fn write<M: Module>(model: M, weights: &Weights) -> M {
    model.map(&mut Write { path: Vec::new(), weights })
}

/// A model whose adapters' parameters have ids that follow from their paths, so that another process,
/// which makes the model anew, has the same.
pub fn identified<M: Module>(model: M) -> M {
    model.map(&mut Identify { path: Vec::new() })
}

/// The first path whose tensor is not finite.
pub fn first_not_finite(weights: &Weights) -> Option<&str> {
    let finite = |data: &TensorData| data.iter::<f64>().all(f64::is_finite);
    weights.iter().find(|(_, data)| !finite(data)).map(|(path, _)| path.as_str())
}

/// Moves an average towards weights: $\bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta$.
pub fn average(average: &mut Weights, weights: &Weights, decay: f64) {
    for (path, mean) in average.iter_mut() {
        let Some(new) = weights.get(path) else { continue };
        let pairs = mean.iter::<f32>().zip(new.iter::<f32>());
        let moved = pairs.map(|(mean, new)| mean + (1.0 - decay as f32) * (new - mean));
        *mean = TensorData::new(moved.collect::<Vec<f32>>(), mean.shape().clone());
    }
}

#[derive(Default)]
struct Read {
    path: Vec<String>,
    weights: Weights,
}

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.weights.insert(self.path.join("."), param.val().into_data());
        }
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

struct Write<'a> {
    path: Vec<String>,
    weights: &'a Weights,
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.weights.get(&self.path.join(".")) else { return param };
        param.map(|old| {
            let new = Tensor::from_data(data.clone(), (&old.device(), old.dtype()));
            if old.is_require_grad() { new.require_grad() } else { new }
        })
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

struct Identify {
    /// Name and container of every step.
    path: Vec<(String, String)>,
}

impl ModuleMapper for Identify {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Elsewhere a parameter may carry adapters, which it would lose.
        if !self.path.iter().any(|(_, container)| container == ADAPTERS) {
            return param;
        }
        let names = self.path.iter().map(|(name, _)| name.as_str());
        let hash = Sha256::digest(names.collect::<Vec<_>>().join("."));
        let id = hash[..8].iter().fold(0u64, |id, byte| id << 8 | u64::from(*byte));
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::from(id), tensor, mapper)
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.into(), container.into()));
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}
