//! Chapter two: is training with $\gamma$ the same as training without it?
//!
//! Two real trainings, through autodiff and the optimizers, on a fresh batch each step: one whose layers
//! act with $W_{0,l} + \gamma_l T_l(A)$, and one without $\gamma$ from the initial values, learning rates and
//! hyperparameters that [`Scaling`](higanbana_train::Scaling) says. Measured is
//! $$\max_t \frac{\lVert \Delta_1(t) - \Delta_2(t) \rVert_F}{\lVert \Delta_1(t) \rVert_F}$$
//! over all adapted weights together. Where every $a_l = \gamma_l^{1/m_l}$ is a power of two both are
//! rounded alike, and have to be equal bit for bit. Each cell has its negative controls: the same with
//! one rule broken, which has to show. An adapter with an $\alpha$ is trained with a real one as well.
//!
//! What is trained is a two-layer nonlinear network under one $\gamma$, or the UNet of Stable Diffusion with a
//! $\gamma$ for every layer ([`Network`]). Where layers have factors of their own, each factor is a group: what
//! an optimizer takes over all tensors, such as a norm or a distance, it takes over a group, as the
//! theorem asks.

mod alpha;
mod answer;
mod broken;
mod cell;
mod chapter;
mod compare;
mod control;
mod course;
mod deviation;
mod half;
mod held;
mod initial;
mod mlp;
mod numbers;
mod page;
mod setup;
mod subject;
mod task;
#[cfg(test)]
mod tests;
mod theorem;
mod unet;

use burn::tensor::DType;
use higanbana_train::{
    Rule, ScalingError, Settings,
    optimizers::{Known, Optimizers},
};

pub use alpha::Alpha;
pub use answer::Answer;
pub use cell::Cell;
pub use chapter::{Chapter, Plan, Worst};
pub(crate) use compare::trained;
pub use control::{Control, THRESHOLD};
pub use course::Curve;
pub(crate) use deviation::difference;
pub use half::{Half, TYPES};
use mlp::WIDTHS;
pub use numbers::NUMBERS;
pub use page::page;
pub use setup::Start;
pub use subject::{Subject, SubjectError};
pub use task::Network;
pub(crate) use task::{Adapted, Task};
pub use theorem::Theorem;
pub(crate) use unet::{Denoising, unet};

use crate::panics::caught;

/// What is compared in one cell of the table.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The network.
    pub net: Network,
    /// The adapter.
    pub subject: &'a Subject,
    /// The optimizer.
    pub rule: &'static Rule,
    /// $\gamma$; where layers have their own, what those are [made](Network) from.
    pub gamma: f64,
    /// Element type, `F32` or `F64`.
    pub dtype: DType,
    /// Number of steps.
    pub steps: usize,
    /// Seed of the network, the adapter and the batches.
    pub seed: u64,
    /// From which values adapters start.
    pub start: Start,
    /// Whether to break the rules one by one, too.
    pub controls: bool,
    /// Whether to train with a real $\alpha$, too.
    pub alpha: bool,
    /// Hyperparameters of the training without $\gamma$; those at which every rule is felt by default.
    pub settings: Option<Settings>,
    /// Widths of the small network: inputs, hidden, outputs; multiples of 8.
    pub widths: [usize; 3],
}

impl<'a> Question<'a> {
    /// Of the small network, 200 steps in `f64`, with nothing broken.
    pub fn new(subject: &'a Subject, rule: &'static Rule, gamma: f64) -> Self {
        Self {
            net: Network::Mlp,
            subject,
            rule,
            gamma,
            dtype: DType::F64,
            steps: 200,
            seed: 0,
            start: Start::Noise,
            controls: false,
            alpha: false,
            settings: None,
            widths: WIDTHS,
        }
    }
}

/// Why a cell has no answer.
#[derive(Debug, thiserror::Error)]
pub enum GammaError {
    /// The adapter is not known or cannot be built.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// There is no scaling.
    #[error("{adapter}: {source}")]
    Scaling {
        /// The adapter.
        adapter: String,
        /// The reason.
        source: ScalingError,
    },
    /// The theorem says nothing of this cell.
    #[error("{adapter} with {optimizer}: {reason}")]
    Outside {
        /// The adapter.
        adapter: String,
        /// The optimizer.
        optimizer: String,
        /// The reason.
        reason: String,
    },
    /// The code of the adapter or the optimizer panicked.
    #[error("{adapter} with {optimizer}: {panic}")]
    Panicked {
        /// The adapter.
        adapter: String,
        /// The optimizer.
        optimizer: &'static str,
        /// What it said.
        panic: String,
    },
    /// The device does not have the element type.
    #[error("the device has no {0}: choose another element type, or another device")]
    Type(&'static str),
    /// The training did not stay finite.
    #[error(
        "{adapter} with {optimizer}: training diverged at step {step}, nothing can be compared"
    )]
    Diverged {
        /// The adapter.
        adapter: String,
        /// The optimizer.
        optimizer: &'static str,
        /// The step.
        step: usize,
    },
}

/// Whether a training with this $\gamma$ stays clear of the limits of the element type.
///
/// # Errors
/// When $\gamma$ is no positive number, 1, or so far from 1 that magnitudes would be lost.
pub fn check(gamma: f64, dtype: DType) -> Result<(), ScalingError> {
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(ScalingError::Gamma(gamma));
    }
    if gamma == 1.0 {
        return Err(ScalingError::One);
    }
    // Gradients scale with a, their squares with a², and a² is at most γ² from 1. What is squared may
    // itself be small: 40 bits are left for it.
    let headroom = 2f64.powi(40);
    let (floor, hint) = match dtype {
        DType::F64 => (f64::MIN_POSITIVE * headroom, ""),
        _ => (f64::from(f32::MIN_POSITIVE) * headroom, ", or use f64"),
    };
    let least = gamma.min(1.0 / gamma).powi(2);
    if least < floor {
        let dtype = name(dtype);
        return Err(ScalingError::Range { gamma, dtype, least, floor, hint });
    }
    Ok(())
}

/// Name of an element type.
pub fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        _ => "f32",
    }
}

/// The optimizer of this name among those of the toolkit.
///
/// # Errors
/// The known ones, nearest first, when there is none.
pub fn rule(name: &str) -> Result<&'static Rule, SubjectError> {
    rule_among(&Optimizers::default(), name)
}

/// The optimizer of this name.
///
/// # Errors
/// The known ones, nearest first, when there is none; or why it has no rule.
pub fn rule_among(optimizers: &Optimizers, name: &str) -> Result<&'static Rule, SubjectError> {
    let found = optimizers.iter().find(|known| known.name() == name);
    let known = || optimizers.iter().map(|known| known.name());
    let found = found.ok_or_else(|| SubjectError::unknown("optimizer", name, known()))?;
    rule_of(&found).map_err(|reason| SubjectError::NoRule { name: name.into(), reason })
}

/// The rule of an optimizer; or why it has none. The code that is asked may be anyone's.
///
/// # Errors
/// The reason.
pub fn rule_of(known: &Known) -> Result<&'static Rule, String> {
    caught(|| known.rule())?.map_err(|error| error.to_string())
}
