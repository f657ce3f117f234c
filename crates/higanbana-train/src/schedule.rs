//! How the learning rate goes with the steps.
//!
//! With $w$ steps of warm-up and $x = (t - w)/(T - w)$ the share of the others that is done, the rate is
//! multiplied by $(t+1)/(w+1)$ in the warm-up and then by
//!
//! | name | factor |
//! |---|---|
//! | `constant` | 1 |
//! | `linear` | $1 - x$ |
//! | `cosine` | $\frac12 (1 + \cos \pi x)$ |
//! | `restarts` | the same of $x k \bmod 1$, for $k$ cycles |
//! | `polynomial` | $(1 - x)^p$ |
//!
//! brought to at least `floor`: $f + (1 - f) \cdot factor$. It is diffusers' `get_scheduler`, but that the
//! first step of a warm-up is not lost to a rate of 0.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate goes with the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// What it does after the warm-up.
    pub kind: Kind,
    /// Steps in which it rises.
    pub warmup: usize,
    /// Number of cycles, of `restarts`.
    pub cycles: usize,
    /// Exponent, of `polynomial`.
    pub power: f64,
    /// Share of the rate that remains at the end.
    pub floor: f64,
}

/// What the rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It stays.
    #[default]
    Constant,
    /// It falls evenly.
    Linear,
    /// It falls as a cosine from 0 to π does.
    Cosine,
    /// It does so several times.
    Restarts,
    /// It falls as a power of what is left.
    Polynomial,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { kind: Kind::Constant, warmup: 0, cycles: 1, power: 1.0, floor: 0.0 }
    }
}

impl Schedule {
    /// What diffusers and kohya call it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Constant if self.warmup > 0 => "constant_with_warmup",
            Kind::Constant => "constant",
            Kind::Linear => "linear",
            Kind::Cosine => "cosine",
            Kind::Restarts => "cosine_with_restarts",
            Kind::Polynomial => "polynomial",
        }
    }

    /// The factor of the rate in a step, counted from 0, of `steps`.
    pub fn factor(&self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let x = (step - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        let cosine = |x: f64| 0.5 * (1.0 + (PI * x).cos());
        let factor = match self.kind {
            Kind::Constant => 1.0,
            Kind::Linear => 1.0 - x,
            Kind::Cosine => cosine(x),
            Kind::Restarts => cosine((x * self.cycles as f64).fract()),
            Kind::Polynomial => (1.0 - x).powf(self.power),
        };
        self.floor + (1.0 - self.floor) * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(kind: Kind, change: impl Fn(Schedule) -> Schedule) -> Vec<f64> {
        let schedule = change(Schedule { kind, warmup: 1, ..Schedule::default() });
        (0..5).map(|step| schedule.factor(step, 5)).collect()
    }

    #[test]
    fn the_table_by_hand() {
        assert_eq!(factors(Kind::Constant, |s| s), [0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(Kind::Linear, |s| s), [0.5, 1.0, 0.75, 0.5, 0.25]);
        let floor = factors(Kind::Linear, |s| Schedule { floor: 0.5, ..s });
        assert_eq!(floor, [0.5, 1.0, 0.875, 0.75, 0.625]);
        let power = factors(Kind::Polynomial, |s| Schedule { power: 2.0, ..s });
        assert_eq!(power, [0.5, 1.0, 0.5625, 0.25, 0.0625]);
        let root = 0.5f64.sqrt();
        for (found, expected) in factors(Kind::Cosine, |s| s).into_iter().zip([
            0.5,
            1.0,
            0.5 + root / 2.0,
            0.5,
            0.5 - root / 2.0,
        ]) {
            assert!((found - expected).abs() < 1e-15);
        }
        let twice = factors(Kind::Restarts, |s| Schedule { cycles: 2, ..s });
        assert!((twice[2] - 0.5).abs() < 1e-15 && twice[3] == 1.0, "{twice:?}");
    }
}
