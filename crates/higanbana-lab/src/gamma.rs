//! Chapter two: is training with $\gamma$ the same as training without it?
//!
//! Two real trainings of a two-layer nonlinear network, through autodiff and the optimizers, on a fresh
//! batch each step: one whose layers act with $W_0 + \gamma\,T(A)$, and one without $\gamma$ from the
//! initial values, learning rates and hyperparameters that [`Scaling`](higanbana_train::Scaling) says. Measured is
//! $$\max_t \frac{\lVert \Delta_1(t) - \Delta_2(t) \rVert_F}{\lVert \Delta_1(t) \rVert_F}$$
//! over all adapted weights together. Where $a = \gamma^{1/m}$ is a power of two no rounding is involved,
//! and the two have to be equal bit for bit. Each cell has its negative controls: the same with one rule
//! broken, which has to show.

mod cell;
mod chapter;
mod control;
mod course;
mod grid;
mod net;
mod page;
mod subject;

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use higanbana_train::{Rule, ScalingError, optimizers};
use serde::Serialize;

pub use cell::Theorem;
pub use chapter::{Cell, Chapter, Plan, Worst};
pub use control::{Control, THRESHOLD};
pub use course::{Curve, Start};
pub use grid::run;
pub use page::page;
pub use subject::{Subject, SubjectError};

use course::{Course, Setup};
use net::Adapted;

/// Share of the steps on which clipping is to be active.
const FAIR: std::ops::RangeInclusive<f64> = 0.2..=0.8;

/// What is compared in one cell of the table.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The adapter.
    pub subject: &'a Subject,
    /// The optimizer.
    pub rule: &'static Rule,
    /// $\gamma$.
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
}

/// One cell of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Name of the adapter, with its set of options.
    pub adapter: String,
    /// Name of the optimizer.
    pub optimizer: &'static str,
    /// $\gamma$.
    pub gamma: f64,
    /// Degree of the map that $\gamma$ multiplies.
    pub degree: u32,
    /// $c$.
    pub c: i32,
    /// Element type.
    pub dtype: &'static str,
    /// Number of steps.
    pub steps: usize,
    /// Largest relative difference of the updates.
    pub deviation: f64,
    /// Whether they are equal bit for bit at every step.
    pub bit_exact: bool,
    /// Largest relative difference with one rule broken, or more than is asked of it.
    pub controls: BTreeMap<&'static str, f64>,
    /// Rules that cannot be broken here, and why.
    pub not_applicable: BTreeMap<&'static str, String>,
    /// What the deviation must not exceed, where that is known beforehand.
    pub bound: Option<f64>,
    /// Share of the steps on which gradients were clipped.
    pub clipped: f64,
    /// Relative difference after each step.
    #[serde(skip)]
    pub growth: Vec<f64>,
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

impl Question<'_> {
    /// Trains and compares.
    ///
    /// # Errors
    /// When there is no scaling, or the training itself diverges.
    pub fn answer(&self, registry: &Registry, device: &Device) -> Result<Answer, GammaError> {
        let (net, mut setup) = self.prepare(registry, device)?;
        let reference = self.reference(&net, &mut setup)?;
        let same = reference.compare(Course::without_gamma(&net, &setup, None), self.steps, None);
        let mut controls = BTreeMap::new();
        let mut not_applicable = BTreeMap::new();
        for control in Control::ALL.into_iter().filter(|_| self.controls) {
            match control::run(control, &net, &setup, &reference) {
                Ok(deviation) => drop(controls.insert(control.name(), deviation)),
                Err(reason) => drop(not_applicable.insert(control.name(), reason)),
            }
        }
        Ok(Answer {
            adapter: self.subject.label.clone(),
            optimizer: self.rule.name,
            gamma: self.gamma,
            degree: setup.scalings[0].degree,
            c: self.rule.c(),
            dtype: name(self.dtype),
            steps: self.steps,
            deviation: same.deviation(),
            bit_exact: same.bit_exact,
            controls,
            not_applicable,
            bound: self.bound(setup.is_dyadic()),
            clipped: reference.clipped(&setup),
            growth: same.growth,
        })
    }

    /// The losses of both trainings and of those with one rule broken, and how far the updates of the
    /// latter depart.
    ///
    /// # Errors
    /// As [`Question::answer`].
    pub fn curves(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<[Vec<Curve>; 2], GammaError> {
        let (net, mut setup) = self.prepare(registry, device)?;
        let reference = self.reference(&net, &mut setup)?;
        let curve = |name: &str, values| Curve { name: name.into(), values };
        let run = |broken| {
            let mut course = Course::without_gamma(&net, &setup, broken);
            course.run(self.steps, |_, _| true);
            course
        };
        let mut losses =
            vec![curve("with γ", reference.losses.clone()), curve("without γ", run(None).losses)];
        let mut departures = Vec::new();
        let broken = Control::ALL.into_iter().filter(|control| *control != Control::GlobalClip);
        for control in broken.filter(|control| control.applies(self.rule).is_ok()) {
            let course = run(Some(control));
            departures.push(curve(control.name(), reference.departures(&course)));
            losses.push(curve(control.name(), course.losses));
        }
        Ok([losses, departures])
    }

    /// The network, and the two trainings as they are set up.
    fn prepare(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<(Adapted, Setup), GammaError> {
        let adapter = self.subject.label.clone();
        let failed = |source| GammaError::Scaling { adapter: adapter.clone(), source };
        check(self.gamma, self.dtype).map_err(failed)?;
        let net = self.subject.adapted(registry, device, self.dtype, self.seed)?;
        let gammas = vec![self.gamma; net.sites.len()];
        let scalings = net.scalings(self.rule, &gammas).map_err(failed)?;
        let setup = Setup::new(&net, self, scalings);
        Ok((net, setup))
    }

    /// The training with $\gamma$, its gradients clipped on a fair share of the steps.
    fn reference<'n>(&self, net: &'n Adapted, setup: &mut Setup) -> Result<Course<'n>, GammaError> {
        let run = |setup: &Setup| {
            let mut course = Course::with_gamma(net, setup);
            course.run(self.steps, |_, _| true);
            course
        };
        let mut reference = run(setup);
        // Clipping changes the norms that follow.
        for _ in 0..2 {
            if FAIR.contains(&reference.clipped(setup)) || self.rule.ignores_clipping.is_some() {
                break;
            }
            setup.clip_as(&reference);
            reference = run(setup);
        }
        match reference.diverged() {
            None => Ok(reference),
            Some(step) => Err(GammaError::Diverged {
                adapter: self.subject.label.clone(),
                optimizer: self.rule.name,
                step,
            }),
        }
    }

    /// What the deviation must not exceed over the first 20 steps; nothing is promised beyond, where
    /// it grows as chaos does.
    fn bound(&self, exact: bool) -> Option<f64> {
        let signs = matches!(self.rule.name, "sign_sgd" | "lion");
        match (exact, self.dtype) {
            (true, _) => Some(0.0),
            _ if self.steps > 20 => None,
            (_, DType::F64) if self.rule.single_precision || self.rule.name == "prodigy" => {
                Some(1e-8)
            }
            (_, DType::F64) => Some(1e-12),
            _ if signs => None,
            _ => Some(1e-4),
        }
    }
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

/// The optimizer of this name.
///
/// # Errors
/// The known ones, nearest first, when there is none.
pub fn rule(name: &str) -> Result<&'static Rule, SubjectError> {
    let found = optimizers().iter().find(|rule| rule.name == name);
    found.ok_or_else(|| {
        SubjectError::unknown("optimizer", name, optimizers().iter().map(|r| r.name))
    })
}
