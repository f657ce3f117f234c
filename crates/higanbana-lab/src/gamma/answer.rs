//! What was found in one cell, and what of it contradicts the theorem.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Alpha, Start, control::least};

/// One cell of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The network.
    pub net: &'static str,
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
    /// Degrees $k$ and $j$ of an optimizer from outside, for which they were found numerically.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<[i32; 2]>,
    /// The distinct factors $a$ of the tensors.
    pub factors: Vec<f64>,
    /// Element type.
    pub dtype: &'static str,
    /// Number of steps.
    pub steps: usize,
    /// From which values adapters start; where layers have unequal factors under one threshold always from noise.
    pub start: Start,
    /// Largest relative difference of the updates.
    pub deviation: f64,
    /// Whether they are equal bit for bit at every step.
    pub bit_exact: bool,
    /// Largest relative difference with one rule broken, or more than is asked of it.
    pub controls: BTreeMap<&'static str, f64>,
    /// Rules that cannot be broken here, and why.
    pub not_applicable: BTreeMap<&'static str, String>,
    /// Rules whose breaking shows nothing here, and why: nothing is said of them.
    pub weak: BTreeMap<&'static str, String>,
    /// Trainings with a real $\alpha$.
    pub alpha: Option<Alpha>,
    /// Why there are none.
    pub no_alpha: Option<&'static str>,
    /// Hyperparameters of the training without $\gamma$.
    pub hyperparameters: BTreeMap<&'static str, f64>,
    /// $\rho$: how far the scaled ones are from that in the precision in which the optimizer holds them.
    pub rounding: f64,
    /// What the deviation must not exceed, where that is known beforehand.
    pub bound: Option<f64>,
    /// Why it is not known: then the deviation is what was measured, and no more.
    pub unbounded: Option<&'static str>,
    /// Share of the steps on which gradients were clipped.
    pub clipped: f64,
    /// Relative difference after each step.
    #[serde(skip)]
    pub growth: Vec<f64>,
}

impl Answer {
    /// Whether nothing contradicts the theorem.
    pub fn holds(&self) -> bool {
        self.contradictions().is_empty()
    }

    /// What contradicts the theorem, and broken rules that do not show though they should: a line each.
    pub fn contradictions(&self) -> Vec<String> {
        let Self { adapter, optimizer, deviation, bound, .. } = self;
        let mut found = Vec::new();
        if let Some(bound) = bound.filter(|bound| deviation > bound) {
            found.push(format!("the deviation {deviation:.1e} is larger than {bound:.0e}"));
        }
        found.extend(self.alpha.iter().flat_map(Alpha::contradictions));
        let least = least(self.bound);
        let blind = |(name, by): (&&str, &f64)| {
            let judged = *by <= least && !self.weak.contains_key(name);
            judged.then(|| format!("{name} shows only {by:.1e}"))
        };
        found.extend(self.controls.iter().filter_map(blind));
        found.into_iter().map(|what| format!("{adapter} with {optimizer}: {what}")).collect()
    }
}
