//! Looks at a training: the loss of images that it does not see, and what it would make by now.

use higanbana_io::run::Run;

use super::{Trainer, number_of};
use crate::{
    TrainError,
    feed::{Draw, Feed},
    network::Network,
    sheet,
    task::Task,
    weights,
};

impl Trainer<'_> {
    /// The loss of the images held out, if it is time for it.
    pub(super) fn validate(&mut self) -> Result<Option<f64>, TrainError> {
        let Some(validation) = &self.recipe.validation else { return Ok(None) };
        if !self.step.is_multiple_of(validation.every) && self.step != self.steps {
            return Ok(None);
        }
        let times = validation.times.clone();
        let Some(mut feed) = self.held_out.take() else { return Ok(None) };
        let loss = self.validated(&mut feed, &times);
        self.held_out = Some(feed);
        loss.map(Some)
    }

    fn validated(&self, feed: &mut Feed, times: &[usize]) -> Result<f64, TrainError> {
        let Task { objective, schedule, prediction } = &self.task;
        let (mut total, mut count) = (0.0, 0.0);
        for index in 0..feed.pictures.len() {
            for (number, &time) in times.iter().enumerate() {
                let first = (index * times.len() + number) as u64;
                let draw = Draw { seed: 0, first, plain: true };
                let network = self.network.clone().conditioned(&[time], schedule.len(), None);
                let batch =
                    feed.batch(&[index], &[time], draw, &self.task, &self.pipeline, &network)?;
                let losses = network.losses(&batch, objective, schedule, *prediction);
                total += number_of(&losses.mean());
                count += 1.0;
            }
        }
        Ok(total / count)
    }

    /// Adds a row to the contact sheet, if it is time for it.
    pub(super) fn look(&mut self, run: &Run) -> Result<(), TrainError> {
        let Some(sample) = self.recipe.sample.clone() else { return Ok(()) };
        if self.step.is_multiple_of(sample.every) || self.step == self.steps {
            let base = self.pipeline.unet.clone();
            let encoders: Vec<_> = self.pipeline.encoders.iter().map(|e| e.model.clone()).collect();
            let network = self.shown();
            let row =
                sheet::add_row(run.folder(), self.step, &sample, &mut self.pipeline, &network);
            self.pipeline.unet = base;
            for (encoder, model) in self.pipeline.encoders.iter_mut().zip(encoders) {
                encoder.model = model;
            }
            row?;
        }
        Ok(())
    }

    /// The network as it is saved: with the average of its weights, where there is one, and nothing left
    /// out.
    pub(super) fn shown(&self) -> Network {
        let network = match &self.average {
            Some(average) => weights::write(self.network.clone(), average),
            None => self.network.clone(),
        };
        network.conditioned(&[], self.task.schedule.len(), None)
    }
}
