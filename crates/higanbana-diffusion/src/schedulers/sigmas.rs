//! Steps as levels of noise $\sigma$ instead of times: of the exploding form $x = x_0 + \sigma n$.

use super::{
    NoiseSchedule, Sigmas,
    config::{Settings, Spacing},
};
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

    /// Levels spread between two of them, at times between those of training.
    pub fn spread(noise: &NoiseSchedule, sigmas: Sigmas, ends: [f64; 2], steps: usize) -> Self {
        let sigmas = sigmas.between(ends, steps);
        let times = times_of(noise, &sigmas);
        Self { times, sigmas: sigmas.into_iter().map(|s| f64::from(s as f32)).collect() }
    }

    /// The levels of the times that a configuration asks for.
    pub fn plain(
        s: &mut Settings,
        noise: &NoiseSchedule,
        steps: usize,
        spacing: Spacing,
    ) -> Result<Self, ModelError> {
        Ok(Self::at(noise, single(s.times(steps, spacing)?)))
    }

    /// The levels of the times that a configuration asks for, or spread between their ends.
    pub fn spaced(
        s: &mut Settings,
        noise: &NoiseSchedule,
        steps: usize,
        spacing: Spacing,
    ) -> Result<Self, ModelError> {
        let levels = Self::plain(s, noise, steps, spacing)?;
        Ok(match Sigmas::of(s)? {
            None => levels,
            Some(sigmas) => {
                let ends = [levels.sigmas[0], levels.sigmas[levels.sigmas.len() - 1]];
                let levels = Self::spread(noise, sigmas, ends, steps);
                Self { times: single(levels.times), ..levels }
            }
        })
    }

    /// With the level of the result.
    pub fn ending(mut self, last: f64) -> Self {
        self.sigmas.push(last);
        self
    }

    /// Standard deviation of the noise that a pass begins with.
    pub fn initial_deviation(&self, spacing: Spacing) -> f64 {
        let largest = self.sigmas.iter().copied().fold(0.0, f64::max);
        match spacing {
            Spacing::Leading => (largest * largest + 1.0).sqrt(),
            Spacing::Trailing | Spacing::Linspace => largest,
        }
    }
}

/// Times that are no integers, as f32: so they reach the model in the reference.
fn single(times: Vec<f64>) -> Vec<f64> {
    times.into_iter().map(|time| f64::from(time as f32)).collect()
}

/// The times of levels, between those of training in the logarithm.
pub(super) fn times_of(noise: &NoiseSchedule, sigmas: &[f64]) -> Vec<f64> {
    let logarithms: Vec<f64> = noise.sigmas().iter().map(|sigma| f64::from(sigma.ln())).collect();
    sigmas.iter().map(|sigma| time_of(*sigma, &logarithms)).collect()
}

/// $\sigma_\uparrow$ and $\sigma_\downarrow$ of an ancestral step to a level $\sigma'$:
/// $\sigma_\uparrow^2 = \sigma'^2 (\sigma^2 - \sigma'^2)/\sigma^2$ and
/// $\sigma_\downarrow^2 = \sigma'^2 - \sigma_\uparrow^2$. In f64, other than the reference, where the
/// difference of squares loses most of its digits if the level falls by much.
pub(super) fn ancestral(sigma: f64, next: f64) -> (f64, f64) {
    let (sigma, next) = (sigma.powi(2), next.powi(2));
    let up = next * (sigma - next) / sigma;
    (up.sqrt(), (next - up).sqrt())
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
