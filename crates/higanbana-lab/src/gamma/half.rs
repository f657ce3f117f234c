//! Where folding $\gamma$ into the tensors costs accuracy: parameters of half precision.
//!
//! Hu et al. (arXiv:2106.09685) brought $\gamma$ in for the sake of numbers that are too small to be
//! stored well. Here the same training is run twice: with tensors of order 1, and with tensors $a$ times
//! smaller and $\gamma = a^m$ to make up for it. Everything is computed in `f64`, but after each step the
//! tensors are rounded to a type. A power of two changes no mantissa, so that what is seen is the range of the
//! exponent alone; any other factor makes both trainings round at different places.

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use serde::Serialize;

use super::{
    GammaError, Plan, Question, Subject,
    course::Course,
    setup::Setup,
    task::{Adapted, Task},
};
use crate::parallel;

/// The types to which tensors are rounded.
pub const TYPES: [(&str, DType); 3] =
    [("f16", DType::F16), ("bf16", DType::BF16), ("f32", DType::F32)];

/// One adapter at one factor.
#[derive(Debug, Clone, Serialize)]
pub struct Half {
    /// Name of the adapter.
    pub adapter: String,
    /// $a$: by this the tensors of one training are smaller.
    pub smaller: f64,
    /// The largest relative difference of the updates, for each of the [types](TYPES).
    pub largest: [f64; 3],
    /// That after the last step.
    pub last: [f64; 3],
}

/// Every adapter that the plan names, at every factor.
pub(super) fn table(
    plan: &Plan,
    registry: &Registry,
    device: &Device,
) -> Result<Vec<Half>, GammaError> {
    let mut jobs = Vec::new();
    for label in &plan.half {
        let subject = Subject::named(registry, label)?;
        let degree = subject.degree(registry)?;
        jobs.extend(plan.smaller.iter().map(|a| (subject.clone(), *a, a.powi(degree as i32))));
        // No power of two.
        jobs.push((subject, plan.gamma.recip().powf(1.0 / f64::from(degree)), plan.gamma.recip()));
    }
    let rows = parallel::all(&jobs, |(subject, smaller, gamma)| {
        let rule = super::rule(&plan.optimizer)?;
        let question =
            Question { steps: plan.steps, seed: plan.seed, ..Question::new(subject, rule, *gamma) };
        let net = question.mlp(registry, device)?;
        let setup = question.setup(&net, registry)?;
        let growth = TYPES.map(|(_, dtype)| growth(&net, &setup, dtype, plan.steps));
        Ok(Half {
            adapter: subject.label.clone(),
            smaller: *smaller,
            largest: growth.each_ref().map(|growth| growth.iter().copied().fold(0.0, f64::max)),
            last: growth.map(|growth| growth.last().copied().unwrap_or_default()),
        })
    });
    rows.into_iter().collect()
}

/// Relative difference after each step of two trainings whose tensors are rounded to a type.
fn growth<T: Task>(net: &Adapted<T>, setup: &Setup, dtype: DType, steps: usize) -> Vec<f64> {
    let mut reference = Course::with_gamma(net, setup).rounded(dtype);
    let without = Course::without_gamma(net, setup, None).rounded(dtype);
    reference.compare(without, steps, None).growth
}
