//! The power of the rank by which a quantity goes.
//!
//! A power is fitted within a regime: a run of ranks at which the same tensors are trained and the same ones move. Where a
//! factor becomes whole (LoKr beyond some rank), or a rotation gets something to turn (OFT beyond blocks of 1), another
//! regime begins, and a line through both would be the power of neither. Under each seed
//! $p$ is the least-squares slope of $\log y$ over $\log r$; the seeds give its [interval](crate::findings). A quantity
//! whose slope in the lower half of the ranks is another than in the upper half goes as no power, and has none.

use super::{First, Step};
use crate::findings::{Judge, Order, Sample};

/// A power that counts as none, and a difference of two halves that counts as a bend.
pub const STABLE: f64 = 0.1;
const BEND: f64 = 0.2;

/// Ranks that a power is fitted to, at least: through two of them every quantity goes as one.
const RANKS: usize = 3;

/// The exponent $p$ of $y \propto r^p$ by least squares of the logarithms; none of fewer than two ranks.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs = points.iter().filter(|(r, y)| *r > 0.0 && *y > 0.0).map(|(r, y)| (r.ln(), y.ln()));
    let logs: Vec<(f64, f64)> = logs.collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    let joint: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    (spread > 0.0).then(|| joint / spread)
}

/// Ranks at which the same tensors are trained, and the same ones move.
#[derive(Debug, Clone, PartialEq)]
pub struct Regime<'a> {
    /// The ranks, rising.
    pub ranks: Vec<usize>,
    /// Names of the tensors.
    pub tensors: Vec<&'a str>,
    steps: Vec<&'a First>,
}

/// How a quantity goes over the ranks of a regime.
#[derive(Debug, Clone, PartialEq)]
pub enum Power {
    /// It is zero at every rank, under every seed.
    Zero,
    /// As this power, by the seed.
    Of(Sample),
    /// As no power.
    Bent,
    /// There are too few ranks to tell, or some of them are zero.
    Untold,
}

/// Whether two steps are of the same tensors, and the same of them move.
fn is_alike(a: &First, b: &First) -> bool {
    let moving = |(name, step): (&'_ String, &Step)| (name.clone(), step.gradient != 0.0);
    a.tensors.iter().map(moving).eq(b.tensors.iter().map(moving))
}

impl<'a> Regime<'a> {
    /// The regimes of an adapter's first steps, in the order of their ranks.
    pub fn all(steps: &'a [First]) -> Vec<Self> {
        let mut steps: Vec<&First> = steps.iter().collect();
        steps.sort_by_key(|step| (step.rank, step.seed));
        let mut regimes: Vec<Self> = Vec::new();
        for step in steps {
            let tensors: Vec<&str> = step.tensors.keys().map(String::as_str).collect();
            let same = |regime: &&mut Self| {
                regime.steps.first().is_some_and(|first| is_alike(first, step))
            };
            match regimes.last_mut().filter(same) {
                None => regimes.push(Self { ranks: vec![step.rank], tensors, steps: vec![step] }),
                Some(regime) => {
                    regime.steps.push(step);
                    if regime.ranks.last() != Some(&step.rank) {
                        regime.ranks.push(step.rank);
                    }
                }
            }
        }
        regimes
    }

    /// The ranks, as in `1 to 4`.
    pub fn name(&self) -> String {
        match (self.ranks.first(), self.ranks.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(only), _) => only.to_string(),
            _ => String::new(),
        }
    }

    /// Whether there are ranks enough for a power.
    pub fn is_fitted(&self) -> bool {
        self.ranks.len() >= RANKS
    }

    /// How a number of the steps goes.
    pub fn power(&self, of: impl Fn(&First) -> f64) -> Power {
        if self.steps.iter().all(|step| of(step) == 0.0) {
            return Power::Zero;
        }
        if !self.is_fitted() || self.steps.iter().any(|step| of(step) <= 0.0) {
            return Power::Untold;
        }
        let slopes = |ranks: &[usize]| -> Sample {
            let mut seeds: Vec<u64> = self.steps.iter().map(|step| step.seed).collect();
            seeds.sort_unstable();
            seeds.dedup();
            let slope = |seed: u64| {
                let own = self
                    .steps
                    .iter()
                    .filter(|step| step.seed == seed && ranks.contains(&step.rank));
                let points: Vec<(f64, f64)> =
                    own.map(|step| (step.rank as f64, of(step))).collect();
                Some((seed, exponent(&points)?))
            };
            Sample::of(seeds.into_iter().filter_map(slope))
        };
        let middle = self.ranks.len() / 2;
        let [lower, upper] =
            [&self.ranks[..=middle], &self.ranks[middle..]].map(|half| slopes(half).mean());
        if (lower - upper).abs() > BEND { Power::Bent } else { Power::Of(slopes(&self.ranks)) }
    }
}

impl Power {
    /// Whether it is none, within [`STABLE`], in a sentence of this many comparisons: tied; else less or greater.
    pub fn order(&self, comparisons: usize) -> Order {
        match self {
            Self::Of(sample) => sample.against(0.0, Judge { margin: STABLE, comparisons }),
            Self::Zero => Order::Tied,
            Self::Bent | Self::Untold => Order::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
