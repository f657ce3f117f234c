//! The trained tensors of a model, by the paths of their parameters.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Tensor, TensorData},
};
use sha2::{Digest, Sha256};

use crate::place::Place;

/// Tensors by path.
pub type Weights = BTreeMap<String, TensorData>;

/// The trained tensors of a model.
pub fn read<M: Module>(model: &M) -> Weights {
    let mut visit = Read::default();
    model.visit(&mut visit);
    visit.weights
}

/// A model with other trained tensors; those that are not named stay.
pub fn write<M: Module>(model: M, weights: &Weights) -> M {
    model.map(&mut Write { place: Place::default(), weights })
}

/// Whether any tensor of a model is trained.
pub fn is_trained<M: Module>(model: &M) -> bool {
    struct Any(bool);
    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut any = Any(false);
    model.visit(&mut any);
    any.0
}

/// A model whose trained tensors have ids that follow from their paths, so that another process, which
/// makes the model anew, has the same.
pub fn identified<M: Module>(model: M) -> M {
    model.map(&mut Identify::default())
}

/// The first path whose tensor is not finite.
pub fn first_not_finite(weights: &Weights) -> Option<&str> {
    let finite = |data: &TensorData| data.iter::<f64>().all(f64::is_finite);
    weights.iter().find(|(_, data)| !finite(data)).map(|(path, _)| path.as_str())
}

/// The decay of an average with a warm-up, in the step after `steps` others: $\min(d, (1+n)/(10+n))$ with $n$
/// that number, and 0 in the first, as diffusers' `EMAModel` has it.
pub fn warmed(decay: f64, steps: usize) -> f64 {
    let n = steps as f64;
    if steps == 0 { 0.0 } else { decay.min((1.0 + n) / (10.0 + n)) }
}

/// Moves an average towards weights: $\bar\theta \leftarrow d \bar\theta + (1 - d) \theta$.
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
    place: Place,
    weights: Weights,
}

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.weights.insert(self.place.path(), param.val().into_data());
        }
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        self.place.exit(container);
    }
}

struct Write<'a> {
    place: Place,
    weights: &'a Weights,
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.weights.get(&self.place.path()) else { return param };
        param.map(|old| {
            let new = Tensor::from_data(data.clone(), (&old.device(), old.dtype()));
            if old.is_require_grad() { new.require_grad() } else { new }
        })
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        self.place.exit(container);
    }
}

#[derive(Default)]
struct Identify {
    place: Place,
}

impl ModuleMapper for Identify {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // What is not trained may carry adapters, which it would lose.
        if !param.is_require_grad() {
            return param;
        }
        let hash = Sha256::digest(self.place.path());
        let id = hash[..8].iter().fold(0u64, |id, byte| id << 8 | u64::from(*byte));
        let (_, tensor, mapper) = param.consume();
        Param::from_mapped_value(ParamId::from(id), tensor, mapper)
    }
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        self.place.exit(container);
    }
}
