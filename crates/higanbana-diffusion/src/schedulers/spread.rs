//! How levels of noise are spread.

use std::str::FromStr;

use super::config::{Settings, linspace};
use crate::ModelError;

/// How the levels of noise are spread between the largest and the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sigmas {
    /// Evenly in $\sigma^{1/7}$ (arXiv:2206.00364, equation 5).
    Karras,
    /// Evenly in $\ln \sigma$.
    Exponential,
    /// As the quantiles of a beta distribution, $\alpha = \beta = 0.6$, which has more steps at both
    /// ends (arXiv:2407.12173).
    Beta,
}

impl Sigmas {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Karras, Self::Exponential, Self::Beta];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Beta => "beta",
        }
    }

    /// The field of a configuration that asks for it.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Karras => "use_karras_sigmas",
            Self::Exponential => "use_exponential_sigmas",
            Self::Beta => "use_beta_sigmas",
        }
    }

    /// What a configuration asks for, if anything.
    pub(super) fn of(s: &mut Settings) -> Result<Option<Self>, ModelError> {
        let mut asked = Vec::new();
        for sigmas in Self::ALL {
            if s.take(sigmas.field(), false)? {
                asked.push(sigmas);
            }
        }
        match asked[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            [one, other, ..] => {
                Err(s.wrong(one.field(), format!("is true, and so is {}", other.field())))
            }
        }
    }

    /// As many levels, from the largest to the smallest.
    pub(super) fn between(self, [most, least]: [f64; 2], steps: usize) -> Vec<f64> {
        const RHO: f64 = 7.0;
        let even = |scale: fn(f64) -> f64, back: fn(f64) -> f64| {
            let [from, to] = [scale(most), scale(least)];
            move |ramp: f64| back(from + ramp * (to - from))
        };
        let ramp = linspace(1.0, steps).into_iter();
        match self {
            Self::Karras => ramp.map(even(|s| s.powf(1.0 / RHO), |s| s.powf(RHO))).collect(),
            Self::Exponential => ramp.map(even(f64::ln, f64::exp)).collect(),
            Self::Beta => {
                ramp.map(|ramp| least + beta_quantile(1.0 - ramp) * (most - least)).collect()
            }
        }
    }
}

impl FromStr for Sigmas {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|sigmas| sigmas.name() == name)
            .ok_or_else(|| format!("there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The number below which a share of the symmetric beta distribution of $\alpha = 0.6$ lies, by
/// bisection.
fn beta_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > f64::EPSILON * high {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            break;
        }
        if beta_share(middle) < share { low = middle } else { high = middle }
    }
    if share == 0.0 { 0.0 } else { high }
}

/// The share of the distribution below $x$, $I_x(\alpha, \alpha) = 1 - I_{1-x}(\alpha, \alpha)$.
fn beta_share(x: f64) -> f64 {
    if x > 0.5 {
        1.0 - beta_share(1.0 - x)
    } else {
        0.5 * incomplete_beta(x) / incomplete_beta(0.5)
    }
}

/// $B_x(\alpha, \alpha) = x^\alpha \sum_n \frac{(1-\alpha)_n}{n! (\alpha + n)} x^n$, which halves from
/// term to term at least where $x \le 1/2$.
fn incomplete_beta(x: f64) -> f64 {
    const ALPHA: f64 = 0.6;
    let (mut sum, mut factor) = (0.0, 1.0);
    for n in 0..60 {
        let n = f64::from(n);
        sum += factor / (ALPHA + n);
        factor *= (n + 1.0 - ALPHA) / (n + 1.0) * x;
    }
    x.powf(ALPHA) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy 1.17.1: beta.ppf(share, 0.6, 0.6)
        for (share, expected) in [
            (0.0, 0.0),
            (1e-6, 1.855_882_462_405_304_3e-10),
            (0.1, 0.039_584_405_588_780_85),
            (0.25, 0.175_680_378_652_694_98),
            (0.5, 0.5),
            (0.9, 0.960_415_594_411_219_2),
            (1.0, 1.0),
        ] {
            let found = beta_quantile(share);
            assert!((found - expected).abs() <= 1e-13 * expected, "{share}: {found:e}");
        }
    }
}
