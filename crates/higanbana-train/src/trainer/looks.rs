//! What comes of a training: the loss of images that it does not see, images on the way, and the file.

use std::collections::BTreeMap;

use burn::module::Module;
use higanbana_diffusion::Pipeline;
use higanbana_io::run::Run;

use super::{Trainer, number_of};
use crate::{
    TrainError,
    feed::{Draw, Feed},
    file::{self, Adapters},
    network::Network,
    sheet,
    task::Task,
    tokens, weights,
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
        let (shown, mut total, mut count) = (self.shown(), 0.0, 0.0);
        for index in 0..feed.pictures.len() {
            for (number, &time) in times.iter().enumerate() {
                let first = (index * times.len() + number) as u64;
                let draw = Draw { seed: 0, first, plain: true };
                let network = shown.clone().conditioned(&[time], schedule.len(), None);
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
    pub(super) fn look(&mut self, run: &mut Run) -> Result<(), TrainError> {
        let Some(sample) = self.recipe.sample.clone() else { return Ok(()) };
        if self.step.is_multiple_of(sample.every) || self.step == self.steps {
            let (step, files, skip) = (self.step, run.files(), self.recipe.data.clip_skip);
            self.with_trained(|pipeline| sheet::add_row(files, step, &sample, skip, pipeline))?;
        }
        Ok(())
    }

    /// Writes what was trained into the folder of the run; gives its name there.
    pub(super) fn save(&mut self, run: &mut Run, loss: f64) -> Result<String, TrainError> {
        let (dtype, name) = (self.recipe.precision.into(), self.recipe.product());
        if self.recipe.trains_model() {
            let files = run.files();
            self.with_trained(|pipeline| file::save_model(files, &name, pipeline, dtype))?;
            return Ok(name);
        }
        tokens::save(run.files(), &self.tokens, &self.shown(), &self.metadata(loss), dtype)?;
        if self.recipe.adapter.is_some() {
            self.save_adapter(run, &name, loss)?;
        }
        Ok(name)
    }

    /// Writes the adapter as it is now, with the loss of the last step or epoch.
    pub(super) fn save_adapter(
        &self,
        run: &mut Run,
        name: &str,
        loss: f64,
    ) -> Result<(), TrainError> {
        let (network, dtype) = (&self.shown(), self.recipe.precision.into());
        let (pipeline, registry) = (&self.pipeline, self.registry);
        let bundled = tokens::bundled(&self.tokens, network, dtype);
        let metadata = self.metadata(loss);
        let adapters = Adapters { network, pipeline, registry, bundled, metadata, dtype };
        adapters.save(run.files(), name)
    }

    fn metadata(&self, loss: f64) -> BTreeMap<String, String> {
        let (progress, prediction) = (self.progress(loss), self.task.prediction);
        file::metadata(&self.recipe, &self.feed, prediction, &self.pipeline, &progress)
    }

    /// What `work` does with the pipeline while the trained models are in it.
    fn with_trained<T>(
        &mut self,
        work: impl FnOnce(&Pipeline) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let Network { unet, encoders } = self.shown();
        let mut unet = unet.valid();
        let mut encoders: Vec<_> = encoders.iter().map(Module::valid).collect();
        let mut exchange = |pipeline: &mut Pipeline| {
            std::mem::swap(&mut pipeline.unet, &mut unet);
            for (own, other) in pipeline.encoders.iter_mut().zip(&mut encoders) {
                std::mem::swap(&mut own.model, other);
            }
        };
        exchange(&mut self.pipeline);
        let done = work(&self.pipeline);
        exchange(&mut self.pipeline);
        done
    }

    /// The network as it is saved: with the average of its weights, where there is one, and nothing left
    /// out.
    fn shown(&self) -> Network {
        let network = match &self.average {
            Some(average) => weights::write(self.network.clone(), average),
            None => self.network.clone(),
        };
        network.conditioned(&[], self.task.schedule.len(), None)
    }
}
