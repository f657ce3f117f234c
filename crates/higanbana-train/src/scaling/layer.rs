//! A layer about which the theorem is asked.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Tensor},
};
use higanbana_core::{Degree, DynAdapter, Init, Site, device::cpu};

use super::ScalingError;
use crate::euler;

/// Difference of two updates, relative to them, that is rounding.
const ROUNDING: f64 = 1e-9;

/// An adapted layer with the $\gamma$ that is to be replaced.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What $\gamma$ multiplies, and the exponents of the tensors there.
    pub degree: Degree,
    /// Names of the trained tensors that start from zeros.
    pub zeros: Vec<String>,
    /// Names of those that are not trained.
    pub frozen: Vec<String>,
    /// $\gamma$.
    pub gamma: f64,
}

impl Layer {
    /// A layer whose tensors are all trained, from values other than zeros.
    pub fn new(degree: Degree, gamma: f64) -> Self {
        Self { degree, zeros: Vec::new(), frozen: Vec::new(), gamma }
    }

    /// The layer of an adapter as it starts, with $\gamma$ where its degree has it.
    pub fn of(adapter: &DynAdapter, gamma: f64) -> Self {
        let mut visit = Visit { path: Vec::new(), zeros: Vec::new(), frozen: Vec::new() };
        // Only an adapter in training tells which of its tensors are trained.
        adapter.clone().train().visit(&mut visit);
        let Visit { zeros, frozen, .. } = visit;
        Self { degree: adapter.degree(), zeros, frozen, gamma }
    }

    /// Whether another one has the same tensors, from the same starts.
    pub fn is_like(&self, other: &Self) -> bool {
        let form = |layer: &Self| (layer.degree.clone(), layer.zeros.clone(), layer.frozen.clone());
        form(self) == form(other)
    }

    /// The layer of an adapter `own` that is to train as `published` does, which has `gamma` times its alpha
    /// and is otherwise the same. Where alpha is ignored, $\gamma = 1$.
    ///
    /// Whether alpha is where the degree has $\gamma$ is found at a random point $\theta$ of all tensors,
    /// the frozen ones included: the update of one at $\theta$ has to be the update of the other at
    /// $\theta$ with $\gamma$.
    ///
    /// # Errors
    /// When alpha multiplies something else.
    pub fn between(
        published: &DynAdapter,
        own: &DynAdapter,
        site: &Site,
        gamma: f64,
    ) -> Result<Self, ScalingError> {
        let layer = Self::of(own, gamma);
        let device = cpu();
        let like = Tensor::<2>::zeros([1, 1], (&device, DType::F64));
        let w0 = Init::new(site, like, 1).normal::<2>([site.out(), site.cols()], 1.0);
        let [published, own] =
            [published, own].map(|adapter| euler::at_random(adapter.clone(), &device, 1).valid());
        let update = published.update_at(site, &w0, 1.0);
        if near(&update, &own.update_at(site, &w0, 1.0)) {
            return Ok(Self { gamma: 1.0, ..layer });
        }
        let map = match &layer.degree {
            Degree::None { .. } => return Ok(layer),
            _ if near(&update, &own.update_gamma(site, &w0, gamma)) => return Ok(layer),
            Degree::Inside { map, .. } => map,
            Degree::Update(_) => "the update",
        };
        let more = match layer.frozen.as_slice() {
            [] => "something else as well".into(),
            frozen => format!("{} as well, which stay as they are", frozen.join(", ")),
        };
        Err(ScalingError::Alpha(format!("{more}; gamma would have to be in {map}")))
    }
}

fn near(a: &Tensor<2>, b: &Tensor<2>) -> bool {
    let norm = |x: Tensor<2>| x.square().sum().sqrt().to_data().iter::<f64>().sum::<f64>();
    norm(a.clone() - b.clone()) <= ROUNDING * norm(a.clone()).max(norm(b.clone()))
}

struct Visit {
    path: Vec<String>,
    zeros: Vec<String>,
    frozen: Vec<String>,
}

impl ModuleVisitor for Visit {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let index = |part: &&String| part.parse::<usize>().is_err();
        let name = self.path.iter().rfind(index).cloned().unwrap_or_default();
        if !param.is_require_grad() {
            self.frozen.push(name);
        } else if param.val().into_data().iter::<f64>().all(|x| x == 0.0) {
            self.zeros.push(name);
        }
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}
