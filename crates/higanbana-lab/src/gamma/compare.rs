//! From a question to its answer: the trainings, and their comparison.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use higanbana_core::{Registry, device::is_flex};
use higanbana_train::{ScalingError, scaling::root};

use super::{
    Answer, Control, Curve, GammaError, Network, Plan, Question, Subject, SubjectError, broken,
    check,
    control::{FAIR, least},
    course::{Course, PROBED},
    mlp::Imitation,
    name,
    setup::{Setup, Sizes},
    task::{Adapted, Task},
};

impl Question<'_> {
    /// Trains and compares.
    ///
    /// # Errors
    /// When there is no scaling, or the training itself diverges.
    pub fn answer(&self, registry: &Registry, device: &Device) -> Result<Answer, GammaError> {
        self.answer_sized(registry, device, &mut None)
    }

    /// The same with the sizes of gradients known, or else found: those of one element type serve
    /// another.
    pub(super) fn answer_sized(
        &self,
        registry: &Registry,
        device: &Device,
        sizes: &mut Option<Sizes>,
    ) -> Result<Answer, GammaError> {
        let Self { dtype, seed, .. } = *self;
        if !device.supports_dtype(dtype) {
            return Err(GammaError::Type(name(dtype)));
        }
        match self.net {
            Network::Mlp => self.compare(registry, sizes, |subject| {
                subject.mlp(registry, self.widths, device, dtype, seed)
            }),
            Network::Unet => {
                self.compare(registry, sizes, |subject| subject.unet(registry, device, dtype, seed))
            }
        }
    }

    /// `build` puts a subject into the network.
    fn compare<T: Task>(
        &self,
        registry: &Registry,
        sizes: &mut Option<Sizes>,
        build: impl Fn(&Subject) -> Result<Adapted<T>, SubjectError>,
    ) -> Result<Answer, GammaError> {
        let net = &build(self.subject)?;
        let setup = self.setup(net, registry)?;
        let (setup, mut reference) = self.reference(net, setup, sizes)?;
        let without = Course::without_gamma(net, &setup, None);
        let same = reference.compare(without, self.steps, None);
        let clipped = reference.clipped(&setup);
        let rounding = setup.rounding().map_err(|lost| self.lost(lost))?;
        let ieee = is_flex(&net.options().0);
        let bound = self.bound(setup.is_dyadic(), rounding, ieee);
        let mut controls = BTreeMap::new();
        let mut not_applicable = BTreeMap::new();
        let mut weak = BTreeMap::new();
        let least = least(bound.ok());
        for control in Control::ALL.into_iter().filter(|_| self.controls) {
            let name = control.name();
            match broken::run(control, net, &setup, &mut reference) {
                Ok(deviation) => {
                    let why = control.weak(self.rule, &setup.factors, self.steps, clipped);
                    weak.extend(why.filter(|_| deviation <= least).map(|why| (name, why)));
                    controls.insert(name, deviation);
                }
                Err(reason) => drop(not_applicable.insert(name, reason)),
            }
        }
        let alpha = match self.alpha {
            true => {
                let bounds = [bound.ok(), self.bound(false, rounding, ieee).ok()];
                Some(self.alpha(net, &setup, &mut reference, registry, bounds, build)?)
            }
            false => None,
        };
        let (alpha, no_alpha) = match alpha {
            Some(Ok(alpha)) => (Some(alpha), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };
        Ok(Answer {
            net: self.net.name(),
            adapter: self.subject.label.clone(),
            optimizer: self.rule.name,
            gamma: self.gamma,
            degree: self.subject.degree(registry)?,
            c: self.rule.c(),
            found: self.rule.found.then(|| self.rule.degrees()),
            factors: setup.factors.clone(),
            dtype: name(self.dtype),
            steps: self.steps,
            start: setup.start,
            deviation: same.deviation(),
            bit_exact: same.bit_exact,
            controls,
            not_applicable,
            weak,
            alpha,
            no_alpha,
            hyperparameters: setup.settings.iter().collect(),
            rounding,
            bound: bound.ok(),
            unbounded: bound.err(),
            clipped,
            growth: same.growth,
        })
    }

    /// The losses of both trainings of the small network and of those with one rule broken, and how far
    /// the updates of the latter depart.
    ///
    /// # Errors
    /// As [`Question::answer`].
    pub fn curves(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<[Vec<Curve>; 2], GammaError> {
        let net = self.mlp(registry, device)?;
        let setup = self.setup(&net, registry)?;
        let (setup, reference) = self.reference(&net, setup, &mut None)?;
        let curve = |name: &str, values| Curve { name: name.into(), values };
        let run = |broken| Course::without_gamma(&net, &setup, broken).after(self.steps);
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

    /// The small network.
    pub(super) fn mlp(
        &self,
        registry: &Registry,
        device: &Device,
    ) -> Result<Adapted<Imitation>, SubjectError> {
        self.subject.mlp(registry, self.widths, device, self.dtype, self.seed)
    }

    /// Both trainings, not clipped yet.
    pub(super) fn setup<T: Task>(
        &self,
        net: &Adapted<T>,
        registry: &Registry,
    ) -> Result<Setup, GammaError> {
        let failed = |source: ScalingError| match source {
            ScalingError::Gamma(_) | ScalingError::One | ScalingError::Range { .. } => {
                GammaError::Scaling { adapter: self.subject.label.clone(), source }
            }
            // Nothing replaces γ here.
            source => self.outside(source.to_string()),
        };
        let a = root(self.gamma, self.subject.degree(registry)?);
        let scale = |a| {
            let layers = self.net.factors(a, net.sites.len());
            let scalings = net.scalings(self.rule, &layers, self.start)?;
            scalings.iter().try_for_each(|scaling| check(scaling.gamma, self.dtype))?;
            Ok((layers, scalings))
        };
        let (layers, scalings) = a.and_then(scale).map_err(failed)?;
        let setup = Setup::new(self, layers, scalings);
        setup.rounding().map_err(|lost| self.lost(lost))?;
        Ok(setup)
    }

    /// A cell of which the theorem says nothing.
    pub(super) fn outside(&self, reason: String) -> GammaError {
        self.subject.outside(self.rule.name, reason)
    }

    /// The training with $\gamma$, its gradients clipped on a fair share of the steps.
    fn reference<'n, T: Task>(
        &self,
        net: &'n Adapted<T>,
        setup: Setup,
        sizes: &mut Option<Sizes>,
    ) -> Result<(Setup, Course<'n, T>), GammaError> {
        let run = |setup: &Setup| Course::with_gamma(net, setup).after(self.steps);
        // Where nothing is broken, some clipping will do.
        let fair = self.controls && self.rule.ignores_clipping.is_none();
        let (tries, probed) = if fair { (8, PROBED) } else { (0, PROBED / 4) };
        let probe = || Course::without_gamma(net, &setup, None).after(self.steps.min(probed));
        let mut found = sizes.take().unwrap_or_else(|| probe().sizes());
        let mut setup = setup.sized(&found);
        let mut reference = run(&setup);
        // Clipping changes the norms that follow: their median may be to and fro between too much and too
        // little, and then what lies between is tried.
        let (mut above, mut below) = (None, None);
        for _ in 0..tries {
            let clipped = reference.clipped(&setup);
            if FAIR.contains(&clipped) {
                break;
            }
            let bound = if clipped < *FAIR.start() { &mut above } else { &mut below };
            *bound = Some(setup.thresholds.clone());
            setup.thresholds = match (&above, &below) {
                (Some(above), Some(below)) => between(above, below),
                _ => reference.thresholds(&setup),
            };
            reference = run(&setup);
        }
        found.groups.clone_from(&setup.thresholds);
        *sizes = Some(found);
        match reference.diverged() {
            None => Ok((setup, reference)),
            Some(step) => Err(GammaError::Diverged {
                adapter: self.subject.label.clone(),
                optimizer: self.rule.name,
                step,
            }),
        }
    }
}

/// The geometric means of two lists.
fn between(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(above, below)| (above * below).sqrt()).collect()
}

/// Three steps of the training with $\gamma$ that the committed plan draws: the updates after them, and
/// the norms of all gradients.
///
/// # Errors
/// When it cannot be set up.
pub(crate) fn trained(
    registry: &Registry,
    device: &Device,
    dtype: DType,
) -> Result<(Vec<f64>, Vec<f64>), GammaError> {
    const STEPS: usize = 3;
    let Plan { adapter, optimizer, gamma, seed, .. } = Plan::committed();
    let (subject, rule) = (Subject::named(registry, &adapter)?, super::rule(&optimizer)?);
    let question = Question { dtype, steps: STEPS, seed, ..Question::new(&subject, rule, gamma) };
    let net = question.mlp(registry, device)?;
    let setup = question.setup(&net, registry)?;
    let mut course = Course::with_gamma(&net, &setup).after(STEPS);
    Ok((course.updates.swap_remove(STEPS - 1), course.norms.concat()))
}
