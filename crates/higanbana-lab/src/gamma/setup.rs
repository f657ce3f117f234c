//! How a pair of trainings is set up: rates, hyperparameters, thresholds.

use higanbana_train::{Group, Role, Rule, Scaling, Settings, scaling::scaled};
use serde::{Deserialize, Serialize};

use super::{Control, Question};

/// From which values adapters start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Their own: the adapted network equals the base. Adapters of a high degree have small gradients
    /// there, and little to compare; a tensor of zeros keeps its factor of 1 under an optimizer that
    /// [cannot](Rule::needs_nonzero) scale it, and the others take up $\gamma$.
    Own,
    /// Noise on top, so that the update is of the size of the weight.
    #[default]
    Noise,
}

impl Start {
    /// Name in prose.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "its own start",
            Self::Noise => "noise",
        }
    }
}

/// A pair of trainings that the theorem says are the same.
///
/// Learning rate, hyperparameters and initial values are set for the training *without* $\gamma$, where
/// all magnitudes are of order 1; those of the training with $\gamma$ follow by dividing by the factors,
/// and multiplying by them again gives what is compared.
pub(super) struct Setup {
    pub rule: &'static Rule,
    /// $a_l$ of every site.
    pub layers: Vec<f64>,
    /// What follows from it.
    pub scalings: Vec<Scaling>,
    /// The distinct factors $a$: parameters with the same one form a group.
    pub factors: Vec<f64>,
    pub rate: f64,
    pub settings: Settings,
    /// Whether the question gives them.
    own: bool,
    pub start: Start,
    /// Of the gradients of each group, without $\gamma$.
    pub thresholds: Vec<f64>,
    /// One threshold for all groups in place of those.
    pub whole: Option<f64>,
    pub seed: u64,
}

/// How large gradients are: median norms over the steps of a training without $\gamma$.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    /// Of each group.
    pub groups: Vec<f64>,
    /// Of all groups together.
    pub whole: f64,
}

impl Setup {
    /// Settings at which every rule is felt where gradients are of order 1; nothing is clipped.
    pub(super) fn new(question: &Question, layers: Vec<f64>, scalings: Vec<Scaling>) -> Self {
        let Question { net, rule, start, seed, ref settings, .. } = *question;
        let factors = distinct(&scalings);
        let exact = scalings.iter().all(Scaling::is_dyadic);
        Self {
            rule,
            layers,
            scalings,
            rate: net.rate(exact) * rule.rate,
            settings: settings.clone().unwrap_or_else(|| felt(rule, None, &factors)),
            own: settings.is_some(),
            start,
            thresholds: vec![f64::INFINITY; factors.len()],
            whole: None,
            factors,
            seed,
        }
    }

    /// The same for gradients of these sizes, clipped at their medians.
    pub(super) fn sized(mut self, sizes: &Sizes) -> Self {
        self.thresholds.clone_from(&sizes.groups);
        if !self.own {
            self.settings = felt(self.rule, Some(sizes.whole), &self.factors);
        }
        self
    }

    /// The same with other factors and one threshold for all, which is still to be had.
    pub(super) fn whole(&self, layers: Vec<f64>, scalings: Vec<Scaling>) -> Self {
        let factors = distinct(&scalings);
        Self {
            rule: self.rule,
            layers,
            scalings,
            rate: self.rate,
            settings: self.settings.clone(),
            own: self.own,
            // Layers at work from the first step: one that hardly moves has no say in the norm.
            start: Start::Noise,
            thresholds: vec![f64::INFINITY; factors.len()],
            whole: Some(f64::INFINITY),
            factors,
            seed: self.seed,
        }
    }

    /// Rate and hyperparameters with $\gamma$ of the group with factor `a`.
    pub(super) fn with_gamma(&self, a: f64) -> Group {
        Group {
            rate: self.rate * a.powi(-self.rule.c()),
            settings: scaled(self.rule, &self.settings, a.recip()),
        }
    }

    /// The same without $\gamma$, as the theorem says or with one rule broken.
    pub(super) fn without_gamma(&self, a: f64, broken: Option<Control>) -> Group {
        let rule = self.rule;
        let with = self.with_gamma(a);
        let c = if broken == Some(Control::WrongC) { Control::wrong(rule.c()) } else { rule.c() };
        let right = scaled(rule, &with.settings, a);
        let settings = rule.hyperparameters.iter().fold(right, |settings, h| {
            if broken.is_some_and(|control| control.leaves(h.role)) {
                settings.with(h.name, with.settings.get(h.name))
            } else {
                settings
            }
        });
        Group { rate: with.rate * a.powi(c), settings }
    }

    /// Whether both trainings are rounded alike.
    pub(super) fn is_dyadic(&self) -> bool {
        self.scalings.iter().all(Scaling::is_dyadic)
    }

    /// The group of a tensor of a site.
    pub(super) fn group(&self, site: usize, name: &str) -> usize {
        let scaling = &self.scalings[site];
        let factor = scaling.block(name).map_or(1.0, |block| scaling.blocks[block].factor);
        // A tensor that is in no block does not train.
        self.factors.iter().position(|known| *known == factor).unwrap_or(0)
    }
}

/// The distinct factors of all blocks.
fn distinct(scalings: &[Scaling]) -> Vec<f64> {
    let blocks = scalings.iter().flat_map(|scaling| &scaling.blocks);
    let mut factors: Vec<f64> = blocks.map(|block| block.factor).collect();
    factors.sort_by(f64::total_cmp);
    factors.dedup();
    factors
}

/// Hyperparameters that are felt where gradients and parameters are of order 1.
fn felt(rule: &Rule, norm: Option<f64>, factors: &[f64]) -> Settings {
    rule.hyperparameters.iter().fold(rule.settings(), |settings, h| {
        let value = match (h.role, h.power) {
            (Role::Epsilon, -1) => 1e-3,
            // A floor of the magnitude of parameters.
            (Role::Epsilon, 1) => 0.3,
            (Role::Epsilon, _) => 1e-6,
            // Sums of squares over all steps.
            (Role::Ridge, _) => 1e-2,
            (Role::Norm, _) => 2.0 * norm.unwrap_or(0.5),
            // Added to the gradient, more would outweigh it.
            (Role::Decay, -2) => 0.01,
            (Role::Decay, _) => 0.1,
            (Role::Estimate, _) => 1e-2,
            (Role::Number, _) => return settings,
        };
        let scaled = factors.iter().map(|a| a.powi(-h.power)).find(|factor| *factor != 1.0);
        settings.with(h.name, scaled.map_or(value, |factor| twice_single(value, factor)))
    })
}

/// Of the 4096 `f32` from `value` up that whose `factor`-fold is nearest to an `f32`, too. Burn holds
/// hyperparameters in `f32`: [the rounding](super::held) of a scaled one would be all that is seen.
fn twice_single(value: f64, factor: f64) -> f64 {
    let first = (value as f32).to_bits();
    let error = |v: f64| ((f64::from((v * factor) as f32)) / (v * factor) - 1.0).abs();
    let candidates = (first..first + 4096).map(|bits| f64::from(f32::from_bits(bits)));
    candidates.min_by(|x, y| error(*x).total_cmp(&error(*y))).unwrap_or(value)
}
