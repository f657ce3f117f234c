//! Steps as levels of noise $\sigma$ instead of times: of the exploding form $x = x_0 + \sigma n$.

use super::{NoiseSchedule, config::Settings, config::linspace};
use crate::ModelError;

/// Levels of noise with the time of each.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    pub times: Vec<f64>,
    /// One more than times: the last is that of the result.
    pub sigmas: Vec<f64>,
}

impl Levels {
    /// The levels of training, interpolated at these times.
    pub fn at(noise: &NoiseSchedule, times: Vec<f64>) -> Self {
        let table = noise.sigmas();
        let sigma = |time: f64| {
            let low = (time as usize).min(table.len() - 1);
            let high = (low + 1).min(table.len() - 1);
            let [a, b] = [low, high].map(|i| f64::from(table[i]));
            f64::from((a + (b - a) * (time - low as f64)) as f32)
        };
        let sigmas = times.iter().map(|time| sigma(*time)).collect();
        Self { times, sigmas }
    }

    /// Spread evenly in $\sigma^{1/7}$ between two levels (arXiv:2206.00364, equation 5).
    pub fn karras(noise: &NoiseSchedule, [most, least]: [f64; 2], steps: usize) -> Self {
        const RHO: f64 = 7.0;
        let [from, to] = [most, least].map(|sigma| sigma.powf(1.0 / RHO));
        let sigma = |ramp: f64| (from + ramp * (to - from)).powf(RHO);
        let sigmas: Vec<f64> = linspace(1.0, steps).into_iter().map(sigma).collect();
        let logarithms: Vec<f64> =
            noise.sigmas().iter().map(|sigma| f64::from(sigma.ln())).collect();
        let times = sigmas.iter().map(|sigma| time_of(*sigma, &logarithms)).collect();
        Self { times, sigmas: sigmas.into_iter().map(|s| f64::from(s as f32)).collect() }
    }

    /// With the level of the result.
    pub fn ending(mut self, last: f64) -> Self {
        self.sigmas.push(last);
        self
    }

    /// The largest level.
    pub fn largest(&self) -> f64 {
        self.sigmas.iter().copied().fold(0.0, f64::max)
    }
}

/// The level of the result, as a configuration has it.
pub(super) fn final_sigma(s: &mut Settings, noise: &NoiseSchedule) -> Result<f64, ModelError> {
    let kind: String = s.take("final_sigmas_type", "zero".into())?;
    match kind.as_str() {
        "zero" => Ok(0.0),
        "sigma_min" => Ok(f64::from(noise.sigmas()[0])),
        kind => {
            let reason = format!("is {kind}; zero and sigma_min are supported");
            Err(s.wrong("final_sigmas_type", reason))
        }
    }
}

/// The time of a level, between those of training in the logarithm.
fn time_of(sigma: f64, logarithms: &[f64]) -> f64 {
    let log = sigma.max(1e-10).ln();
    let above = logarithms.partition_point(|other| *other <= log);
    let low = above.saturating_sub(1).min(logarithms.len() - 2);
    let (a, b) = (logarithms[low], logarithms[low + 1]);
    let weight = ((a - log) / (a - b)).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// A level as shares of image and noise, $x = a x_0 + b n$: $a = 1/\sqrt{\sigma^2+1}$,
/// $b = \sigma a$, with $\lambda = \ln(a/b)$.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub a: f64,
    pub b: f64,
    pub lambda: f64,
}

impl From<f64> for Level {
    fn from(sigma: f64) -> Self {
        let a = 1.0 / (sigma * sigma + 1.0).sqrt();
        let b = sigma * a;
        Self { a, b, lambda: a.ln() - b.ln() }
    }
}
