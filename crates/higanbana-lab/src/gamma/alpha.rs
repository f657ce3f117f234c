//! Training with a real $\alpha$, the option that users set, on the path on which they train.
//!
//! [`update_gamma`](higanbana_core::Adapter::update_gamma) has $\gamma$ where the theorem has it, and builds the
//! weight for that. Users set $\alpha$, and their layers take shortcuts. At $\gamma\alpha$ in place of $\alpha$ the
//! update is that of $\gamma$, if $\alpha$ stands where $\gamma$ does; then two trainings on the users' path are to be
//! the same as well: at $\gamma\alpha$, and at $\alpha$ from scaled initial values at scaled rates. Powers of two
//! change no bit of them. From the training on $\gamma$'s own path they depart by the rounding of other operations.

use higanbana_adapters::inject::{InjectError, Rule};
use higanbana_core::{Registry, slot};
use higanbana_train::{ScalingError, scaling::Layer};
use serde::Serialize;

use super::{
    GammaError, Question, Subject, SubjectError,
    course::Course,
    setup::Setup,
    task::{Adapted, Task},
};

/// Trainings with a real $\alpha$.
#[derive(Debug, Clone, Serialize)]
pub struct Alpha {
    /// Largest relative difference of the updates at $\gamma\alpha$, and at $\alpha$ as the theorem says.
    pub deviation: f64,
    /// Whether they are equal bit for bit at every step.
    pub bit_exact: bool,
    /// Largest relative difference of the updates at $\gamma\alpha$, and on $\gamma$'s own path.
    pub path: f64,
    /// Why $\alpha$ is not $\gamma$ here, so that these trainings are different ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// What the two differences must not exceed, where that is known beforehand.
    #[serde(skip)]
    pub bounds: [Option<f64>; 2],
}

impl Alpha {
    /// What contradicts the theorem: a line each.
    pub fn contradictions(&self) -> Vec<String> {
        let [exact, path] = self.bounds.map(|bound| bound.filter(|_| self.apart.is_none()));
        let exceeds = |(what, deviation, bound): (&str, f64, Option<f64>)| {
            let bound = bound.filter(|bound| deviation > *bound)?;
            Some(format!("the deviation {what} {deviation:.1e} is larger than {bound:.0e}"))
        };
        [
            ("at a real alpha", self.deviation, exact),
            ("of a real alpha from gamma's own path", self.path, path),
        ]
        .into_iter()
        .filter_map(exceeds)
        .collect()
    }
}

impl Question<'_> {
    /// Both trainings, with the bounds of their differences; or why there is no $\alpha$ to train with. `build`
    /// puts a subject into the network.
    pub(super) fn alpha<T: Task>(
        &self,
        net: &Adapted<T>,
        setup: &Setup,
        reference: &mut Course<'_, T>,
        registry: &Registry,
        bounds: [Option<f64>; 2],
        build: impl Fn(&Subject) -> Result<Adapted<T>, SubjectError>,
    ) -> Result<Result<Alpha, &'static str>, GammaError> {
        if !self.subject.has_option(registry, "alpha") {
            return Ok(Err("it has no alpha"));
        }
        let gammas: Vec<f64> = setup.scalings.iter().map(|scaling| scaling.gamma).collect();
        let paths = net.sites.iter().map(|(site, _)| site.path.as_str());
        let subject = self.subject.with_alphas(paths.zip(gammas.iter().copied()));
        let other = build(&subject.map_err(SubjectError::from)?)?;
        let [published, own] = [&other, net].map(|net| slot::collect(&net.model));
        let judged = published.iter().zip(&own).zip(gammas);
        let judged = judged.map(|((published, own), gamma)| {
            let [published, adapter] = [published, own].map(|slot| &slot.members[0].adapter);
            Layer::between(published, adapter, &own.site, gamma)
        });
        let layers: Result<Vec<Layer>, ScalingError> = judged.collect();
        if layers.as_ref().is_ok_and(|layers| layers.iter().all(|layer| layer.gamma == 1.0)) {
            return Ok(Err("its update does not depend on alpha"));
        }
        let apart = layers.err().map(|error| error.to_string());
        let path = reference.compare(Course::with_alpha(&other, setup), self.steps, None);
        let without = Course::without_alpha(net, setup);
        let same = Course::with_alpha(&other, setup).compare(without, self.steps, None);
        let (deviation, bit_exact, path) = (same.deviation(), same.bit_exact, path.deviation());
        Ok(Ok(Alpha { deviation, bit_exact, path, apart, bounds }))
    }
}

impl Subject {
    /// The same with $\gamma_l \alpha$ for the $\alpha$ of these layers.
    fn with_alphas<'s>(
        &self,
        layers: impl Iterator<Item = (&'s str, f64)>,
    ) -> Result<Self, InjectError> {
        let alpha = self.options.get("alpha").and_then(toml::Value::as_float).unwrap_or(1.0);
        let rule = |(path, gamma): (&str, f64)| {
            let options = toml::Table::from_iter([("alpha".into(), (gamma * alpha).into())]);
            Ok(Rule { options, ..Rule::paths([path])? })
        };
        let mut subject = self.clone();
        subject.rules = layers.map(rule).collect::<Result<_, InjectError>>()?;
        Ok(subject)
    }
}
