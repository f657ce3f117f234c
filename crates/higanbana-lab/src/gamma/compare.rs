//! From a question to its answer: the trainings, and their comparison.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use higanbana_core::{Registry, device::is_flex};
use higanbana_train::scaling::root;

use super::{
    Answer, Control, Curve, GammaError, Network, Plan, Question, Subject, SubjectError, broken,
    check,
    course::{Course, PROBED},
    mlp::Imitation,
    name,
    setup::{Setup, Sizes},
    task::{Adapted, Task},
};

/// Share of the steps on which clipping is to be active.
pub(super) const FAIR: std::ops::RangeInclusive<f64> = 0.2..=0.8;
/// Steps over which the growth of rounding is bounded.
const BOUNDED: usize = 20;

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
        let Self { subject, dtype, seed, .. } = *self;
        if !device.supports_dtype(dtype) {
            return Err(GammaError::Type(name(dtype)));
        }
        match self.net {
            Network::Mlp => self.compare(&self.mlp(registry, device)?, registry, sizes),
            Network::Unet => {
                self.compare(&subject.unet(registry, device, dtype, seed)?, registry, sizes)
            }
        }
    }

    fn compare<T: Task>(
        &self,
        net: &Adapted<T>,
        registry: &Registry,
        sizes: &mut Option<Sizes>,
    ) -> Result<Answer, GammaError> {
        let setup = self.setup(net, registry)?;
        let (setup, mut reference) = self.reference(net, setup, sizes)?;
        let without = Course::without_gamma(net, &setup, None);
        let same = reference.compare(without, self.steps, None);
        let mut controls = BTreeMap::new();
        let mut not_applicable = BTreeMap::new();
        for control in Control::ALL.into_iter().filter(|_| self.controls) {
            match broken::run(control, net, &setup, &mut reference) {
                Ok(deviation) => drop(controls.insert(control.name(), deviation)),
                Err(reason) => drop(not_applicable.insert(control.name(), reason)),
            }
        }
        let bound = self.bound(setup.is_dyadic(), is_flex(&net.options().0));
        Ok(Answer {
            net: self.net.name(),
            adapter: self.subject.label.clone(),
            optimizer: self.rule.name,
            gamma: self.gamma,
            degree: self.subject.degree(registry)?,
            c: self.rule.c(),
            dtype: name(self.dtype),
            steps: self.steps,
            deviation: same.deviation(),
            bit_exact: same.bit_exact,
            controls,
            not_applicable,
            bound: bound.ok(),
            unbounded: bound.err(),
            clipped: reference.clipped(&setup),
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
        let adapter = self.subject.label.clone();
        let failed = |source| GammaError::Scaling { adapter, source };
        let a = root(self.gamma, self.subject.degree(registry)?);
        let scale = |a| {
            let layers = self.net.factors(a, net.sites.len());
            let scalings = net.scalings(self.rule, &layers)?;
            scalings.iter().try_for_each(|scaling| check(scaling.gamma, self.dtype))?;
            Ok((layers, scalings))
        };
        let (layers, scalings) = a.and_then(scale).map_err(failed)?;
        Ok(Setup::new(self, layers, scalings))
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

    /// What the deviation must not exceed, where arithmetic is `ieee`'s; or why nothing is promised.
    fn bound(&self, exact: bool, ieee: bool) -> Result<f64, &'static str> {
        let signs = matches!(self.rule.name, "sign_sgd" | "lion");
        match (exact, self.dtype) {
            _ if !ieee => Err("roots and quotients of this device need not be rounded correctly"),
            (true, _) => Ok(0.0),
            _ if self.steps > BOUNDED => {
                Err("over more than 20 steps rounding grows as the training amplifies it")
            }
            (_, DType::F64) if self.rule.single_precision || self.rule.name == "prodigy" => {
                Ok(1e-8)
            }
            (_, DType::F64) => Ok(1e-12),
            _ if signs => Err("rounding turns signs in f32"),
            _ => Ok(1e-4),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gamma::rule;

    #[test]
    fn what_is_not_promised_has_a_reason() {
        let subject = Subject::named(&higanbana_adapters::registry(), "lora").unwrap();
        let question = |optimizer: &str, dtype, steps| {
            let new = Question::new(&subject, rule(optimizer).unwrap(), 0.25);
            Question { dtype, steps, ..new }
        };
        let sgd = question("sgd", DType::F64, 20);
        assert_eq!((sgd.bound(true, true), sgd.bound(false, true)), (Ok(0.0), Ok(1e-8)));
        // A device with arithmetic of its own.
        assert!(sgd.bound(true, false).unwrap_err().contains("this device"));
        assert!(question("sgd", DType::F64, 21).bound(false, true).is_err());
        assert_eq!(question("nadam", DType::F64, 20).bound(false, true), Ok(1e-12));
        assert_eq!(question("lion", DType::F32, 200).bound(true, true), Ok(0.0));
        assert!(question("lion", DType::F32, 20).bound(false, true).is_err());
    }
}
