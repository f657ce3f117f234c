//! The bound on the norm of an update, kept after each step of training.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::Tensor,
};
use higanbana_core::{Condition, DynAdapter, Member, slot};

use super::sites::parameters;

/// Norms $\lVert \Delta W \rVert_F$ of the adapters that train within a `max_norm`, as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Norms {
    /// Number of adapters that were scaled down.
    pub scaled: usize,
    /// Mean norm; 0 where there is no such adapter.
    pub mean: f64,
    /// Largest norm.
    pub largest: f64,
}

/// Scales every adapter whose update has outgrown its
/// [`max_norm`](higanbana_core::Training::max_norm) down to it, all of its trained tensors evenly. The
/// norm is that of the whole update: neither the strength nor a [`Condition`] has a part in it. Frozen
/// adapters stay as they are.
pub fn limit_norms<M: Module>(model: &M) -> (M, Norms) {
    let bounded = |member: &Member| member.training.max_norm.is_some() && trains(&member.adapter);
    let slots = slot::collect(model);
    if !slots.iter().any(|slot| slot.members.iter().any(bounded)) {
        return (model.clone(), Norms::default());
    }
    let parameters = parameters(model);
    let mut norms = Vec::new();
    let mut scaled = 0;
    let model = slot::edit(model.clone(), |slot| {
        if !slot.members.iter().any(bounded) {
            return;
        }
        let parameter = parameters.iter().find(|parameter| parameter.is(&slot.site));
        let w0 = parameter.expect("a slot has a parameter").matrix(&slot.site);
        for member in slot.members.iter_mut().filter(|member| bounded(member)) {
            let bound = member.training.max_norm.expect("it is bounded");
            let mut whole = member.adapter.valid();
            whole.condition(&Condition::default());
            let w0 = w0.clone().inner().cast(whole.dtype().unwrap_or(w0.dtype()));
            let update = whole.update_at(&slot.site, &w0, 1.0);
            let norm = update.square().sum().into_scalar::<f64>().sqrt();
            norms.push(norm.min(bound));
            if norm > bound {
                member.adapter = shrunk(member.adapter.clone(), bound / norm);
                scaled += 1;
            }
        }
    });
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let mean = norms.iter().sum::<f64>() / norms.len() as f64;
    (model, Norms { scaled, mean, largest })
}

/// Whether any of its tensors is trained.
fn trains(adapter: &DynAdapter) -> bool {
    struct Trains(bool);
    impl ModuleVisitor for Trains {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut trains = Trains(false);
    adapter.visit(&mut trains);
    trains.0
}

/// The adapter with its update times `ratio`.
fn shrunk(adapter: DynAdapter, ratio: f64) -> DynAdapter {
    let degree = adapter.degree().total().expect("options with a bound are refused of one without");
    adapter.map(&mut Scale(ratio.powf(1.0 / f64::from(degree))))
}

/// Multiplies what is trained.
struct Scale(f64);

impl ModuleMapper for Scale {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match tensor.is_require_grad() {
            true => tensor.mul_scalar(self.0).detach().require_grad(),
            false => tensor,
        })
    }
}
