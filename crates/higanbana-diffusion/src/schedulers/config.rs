//! A scheduler's configuration.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

use super::{
    Sigmas,
    noise::{self, NoiseSchedule, Prediction},
};
use crate::{ModelError, config::Fields};

/// The text of a `scheduler_config.json`, whatever scheduler wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    fields: Fields,
}

impl SchedulerConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a JSON object.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ModelError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    /// Parses the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ModelError> {
        // Python writes a number here (`lambda_min_clipped`) that JSON does not have.
        Ok(Self { fields: Fields::parse(path, &text.replace("-Infinity", "null"))? })
    }

    /// The text of a file.
    pub fn text(&self) -> String {
        self.fields.text()
    }

    /// The scheduler that wrote it.
    pub fn class(&self) -> Option<&str> {
        self.fields.class()
    }

    /// As diffusers' pipelines of SD 1 and 2 take it for the model's own scheduler: files of the first
    /// years lead to an offset of 0, and to images cut to a range, which no model was meant to have.
    #[must_use]
    pub fn revised(mut self) -> Self {
        self.fields.set("steps_offset", 1);
        self.fields.set("clip_sample", false);
        self
    }

    /// The same of a model that is trained to predict that, if anything else, and with nothing of the image
    /// left at the last time.
    #[must_use]
    pub fn trained(mut self, prediction: Option<Prediction>, zero_terminal_snr: bool) -> Self {
        match prediction {
            Some(Prediction::Epsilon) => self.fields.set("prediction_type", "epsilon"),
            Some(Prediction::Velocity) => self.fields.set("prediction_type", "v_prediction"),
            None => {}
        }
        if zero_terminal_snr {
            self.fields.set("rescale_betas_zero_snr", true);
        }
        self
    }

    /// The process that the model was trained on, as the scheduler of that training has it.
    ///
    /// # Errors
    /// When the configuration asks for something that is not built.
    pub fn training(&self) -> Result<(NoiseSchedule, Prediction), ModelError> {
        let mut settings = self.settings();
        let prediction = settings.prediction()?;
        let zero_snr = settings.take("rescale_betas_zero_snr", false)?;
        Ok((settings.noise(zero_snr)?, prediction))
    }

    pub(super) fn settings(&self) -> Settings {
        Settings { fields: self.fields.clone() }
    }
}

/// How steps are spread over the times of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Leading,
    Trailing,
    Linspace,
}

/// Fields as a scheduler takes them; those of other schedulers are left.
pub(super) struct Settings {
    fields: Fields,
}

impl Settings {
    pub fn take<T: DeserializeOwned>(&mut self, name: &str, default: T) -> Result<T, ModelError> {
        self.fields.take(name, default)
    }

    /// Levels of noise spread in one way, whatever the file says.
    pub fn spread(&mut self, sigmas: Sigmas) {
        Sigmas::ALL.iter().for_each(|other| self.fields.set(other.field(), *other == sigmas));
    }

    /// That fields which are not built have the value that changes nothing.
    pub fn only_false(&mut self, names: &[&str]) -> Result<(), ModelError> {
        names.iter().try_for_each(|name| self.fields.only(name, false))
    }

    pub fn only(
        &mut self,
        name: &str,
        supported: impl Into<serde_json::Value>,
    ) -> Result<(), ModelError> {
        self.fields.only(name, supported)
    }

    pub fn wrong(&self, field: &str, reason: impl AsRef<str>) -> ModelError {
        self.fields.wrong(field, reason)
    }

    /// Number of times of training.
    pub fn train_steps(&mut self) -> Result<usize, ModelError> {
        let count: usize = self.fields.clone().take("num_train_timesteps", 1000)?;
        match count {
            2..=1_000_000 => Ok(count),
            _ => Err(self.wrong("num_train_timesteps", format!("is {count}"))),
        }
    }

    pub fn prediction(&mut self) -> Result<Prediction, ModelError> {
        let kind: String = self.take("prediction_type", "epsilon".into())?;
        match kind.as_str() {
            "epsilon" => Ok(Prediction::Epsilon),
            "v_prediction" => Ok(Prediction::Velocity),
            kind => {
                let reason = format!("is {kind}; epsilon and v_prediction are supported");
                Err(self.wrong("prediction_type", reason))
            }
        }
    }

    /// The noise of training. LCM's defaults are its own.
    pub fn noise(&mut self, zero_snr: bool) -> Result<NoiseSchedule, ModelError> {
        self.noise_or(zero_snr, (1e-4, 0.02, "linear"))
    }

    pub fn noise_or(
        &mut self,
        zero_snr: bool,
        (start, end, schedule): (f64, f64, &str),
    ) -> Result<NoiseSchedule, ModelError> {
        self.only("trained_betas", serde_json::Value::Null)?;
        let count = self.train_steps()?;
        let mut beta = |name, default| match self.take(name, default)? {
            beta if (0.0..1.0).contains(&beta) => Ok(beta),
            beta => Err(self.wrong(name, format!("is {beta}; it lies between 0 and 1"))),
        };
        let range = [beta("beta_start", start)?, beta("beta_end", end)?];
        let schedule: String = self.take("beta_schedule", schedule.into())?;
        let betas = match schedule.as_str() {
            "linear" => noise::linear(range, count),
            "scaled_linear" => noise::scaled_linear(range, count),
            other => {
                let reason = format!("is {other}; linear and scaled_linear are supported");
                return Err(self.wrong("beta_schedule", reason));
            }
        };
        let schedule = NoiseSchedule::new(&betas);
        Ok(if zero_snr { schedule.zero_terminal_snr() } else { schedule })
    }

    /// Noise whose last time has no signal, or next to none for schedulers that divide by it.
    pub fn finite_noise(&mut self) -> Result<NoiseSchedule, ModelError> {
        let zero_snr = self.take("rescale_betas_zero_snr", false)?;
        let noise = self.noise(zero_snr)?;
        Ok(if zero_snr { noise.finite() } else { noise })
    }

    /// The range that a predicted image is cut to, if it is.
    pub fn clip(&mut self, default: bool) -> Result<Option<f64>, ModelError> {
        self.only("thresholding", false)?;
        let clip: bool = self.take("clip_sample", default)?;
        let range: f64 = self.take("clip_sample_range", 1.0)?;
        Ok(clip.then_some(range))
    }

    pub fn spacing(&mut self, default: Spacing) -> Result<Spacing, ModelError> {
        let spacing: Option<String> = self.take("timestep_spacing", None)?;
        match spacing.as_deref() {
            None => Ok(default),
            Some("leading") => Ok(Spacing::Leading),
            Some("trailing") => Ok(Spacing::Trailing),
            Some("linspace") => Ok(Spacing::Linspace),
            Some(other) => {
                let reason = format!("is {other}; leading, trailing and linspace are supported");
                Err(self.wrong("timestep_spacing", reason))
            }
        }
    }

    /// As many times, the latest first: of the integers below the number of training's. The
    /// linspaced ones are not rounded yet.
    pub fn times(&mut self, steps: usize, spacing: Spacing) -> Result<Vec<f64>, ModelError> {
        let count = self.train_steps()?;
        if steps > count {
            let reason = format!("are {steps}; the model was trained on {count} times");
            return Err(ModelError::input("steps", reason));
        }
        let offset: f64 = self.take("steps_offset", 0.0)?;
        let times: Vec<f64> = match spacing {
            Spacing::Linspace => linspace(count as f64 - 1.0, steps).into_iter().rev().collect(),
            Spacing::Leading => {
                let ratio = count / steps;
                (0..steps).rev().map(|i| (i * ratio) as f64 + offset).collect()
            }
            Spacing::Trailing => trailing(count, steps),
        };
        self.check_times(times, count)
    }

    /// The same for DPM-Solver++ and UniPC: the last of one more time is left out.
    pub fn times_without_last(
        &mut self,
        steps: usize,
        spacing: Spacing,
    ) -> Result<Vec<f64>, ModelError> {
        let count = self.train_steps()?;
        if steps >= count {
            let reason = format!("are {steps}; the model was trained on {count} times");
            return Err(ModelError::input("steps", reason));
        }
        let offset: f64 = self.take("steps_offset", 0.0)?;
        let times: Vec<f64> = match spacing {
            Spacing::Linspace => {
                let times = linspace(count as f64 - 1.0, steps + 1);
                times.into_iter().skip(1).rev().map(f64::round_ties_even).collect()
            }
            Spacing::Leading => {
                let ratio = count / (steps + 1);
                (1..=steps).rev().map(|i| (i * ratio) as f64 + offset).collect()
            }
            Spacing::Trailing => trailing(count, steps),
        };
        self.check_times(times, count)
    }

    fn check_times(&self, times: Vec<f64>, count: usize) -> Result<Vec<f64>, ModelError> {
        match times.iter().find(|time| !(0.0..count as f64).contains(*time)) {
            None => Ok(times),
            Some(time) => {
                let reason = format!("leads to the time {time}; there are {count}");
                Err(self.wrong("steps_offset", reason))
            }
        }
    }
}

/// From 0 to `end`, inclusive; 0 alone if there is only one. As numpy computes it.
pub(super) fn linspace(end: f64, count: usize) -> Vec<f64> {
    let step = end / (count.max(2) - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step).collect();
    if let [_, .., last] = &mut values[..] {
        *last = end;
    }
    values
}

/// `round(arange(count, 0, -count/steps)) - 1`, as numpy computes it.
fn trailing(count: usize, steps: usize) -> Vec<f64> {
    let count = count as f64;
    let ratio = count / steps as f64;
    let length = (count / ratio).ceil() as usize;
    let delta = (count - ratio) - count;
    (0..length).map(|i| (count + i as f64 * delta).round_ties_even() - 1.0).collect()
}
