//! What the model is asked, and how its answers are measured.

use higanbana_diffusion::{
    Pipeline,
    schedulers::{NoiseSchedule, Prediction},
};

use crate::{TrainError, objective::Objective, recipe::Recipe};

/// What the model is asked and how.
#[derive(Debug, Clone)]
pub struct Task {
    /// What is minimised.
    pub objective: Objective,
    /// The noise of each time.
    pub schedule: NoiseSchedule,
    /// What the model predicts.
    pub prediction: Prediction,
}

impl Task {
    /// The task of a recipe, for a model.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn new(recipe: &Recipe, pipeline: &Pipeline) -> Result<Self, TrainError> {
        let objective = recipe.objective.clone();
        let (schedule, prediction) = objective.scheduler(&pipeline.scheduler).training()?;
        let wrong =
            |reason: &str| Err(TrainError::recipe("RUN.toml", format!("objective.{reason}")));
        if schedule.alpha(schedule.len() - 1) == 0.0 && prediction == Prediction::Epsilon {
            return wrong(
                "zero_terminal_snr: needs v_prediction: at the last time there is only noise to see",
            );
        }
        if objective.scale_v_like_noise && prediction == Prediction::Epsilon {
            return wrong("scale_v_like_noise: the model predicts the noise");
        }
        if let Some([from, to]) = objective.times
            && (from >= to || to > schedule.len())
        {
            return wrong(&format!("times: {from} to {to}; there are {}", schedule.len()));
        }
        let late =
            recipe.validation.iter().flat_map(|it| &it.times).find(|time| **time >= schedule.len());
        if let Some(late) = late {
            let reason = format!("validation.times: {late}; there are {}", schedule.len());
            return Err(TrainError::recipe("RUN.toml", reason));
        }
        Ok(Self { objective, schedule, prediction })
    }
}
