//! Which tensors a model has, under the names of its files.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor as BurnTensor,
};

/// A tensor that a model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in files.
    pub key: String,
    /// Its shape in files.
    pub shape: Vec<usize>,
}

/// Every weight of a model, in the order of traversal; none is initialised. Adapters are not among
/// them.
pub fn table<M: Module>(model: &M) -> Vec<Tensor> {
    let mut visitor = Table::default();
    model.visit(&mut visitor);
    visitor.tensors
}

/// Number of weights of a model, none of which is initialised.
pub fn parameter_count<M: Module>(model: &M) -> usize {
    table(model).iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
}

#[derive(Default)]
struct Table {
    trail: Trail,
    tensors: Vec<Tensor>,
}

impl ModuleVisitor for Table {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.trail.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.trail.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<BurnTensor<D>>) {
        if let Some(Place { key, transposed }) = self.trail.place() {
            let mut shape = param.lazy_shape().as_slice().to_vec();
            if transposed {
                shape.reverse();
            }
            self.tensors.push(Tensor { key, shape });
        }
    }
}

/// Where a parameter lies in files.
pub(super) struct Place {
    pub key: String,
    /// Burn's linear layers hold `[in, out]`, files `[out, in]`.
    pub transposed: bool,
}

/// The way from the root of a model to where a traversal is.
#[derive(Default)]
pub(super) struct Trail {
    /// Name and container of every step.
    steps: Vec<(String, String)>,
}

impl Trail {
    pub fn enter(&mut self, name: &str, container: &str) {
        self.steps.push((name.into(), container.into()));
    }

    pub fn exit(&mut self) {
        self.steps.pop();
    }

    /// The parameter's place, if it is neither an adapter's nor a learnt token's.
    pub fn place(&self) -> Option<Place> {
        let added = |(name, container): &(String, String)| {
            container == "Reparameterization" || name == "learnt"
        };
        if self.steps.iter().any(added) {
            return None;
        }
        let (field, class) = self.steps.last()?;
        let class = class.strip_prefix("Struct:").unwrap_or(class);
        let name = match (class, field.as_str()) {
            ("GroupNorm" | "LayerNorm", "gamma") => "weight",
            ("GroupNorm" | "LayerNorm", "beta") => "bias",
            (_, name) => name,
        };
        // The name of an enum's variant is a step for Burn, not for files.
        let above = &self.steps[..self.steps.len() - 1];
        let path = above.iter().filter(|(_, container)| !container.starts_with("Enum:"));
        let path: Vec<&str> = path.map(|(name, _)| name.as_str()).chain([name]).collect();
        let transposed = class == "Linear" && name == "weight";
        Some(Place { key: path.join("."), transposed })
    }
}
