//! The training itself: step after step, from wherever it stopped.

mod looks;
mod step;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::tensor::{Device, Tensor};
use higanbana_core::Registry;
use higanbana_diffusion::Pipeline;
use higanbana_io::run::Run;
use serde::Serialize;
use serde_json::json;

use crate::{
    ModelOptimizer, TrainError,
    checkpoint::Checkpoint,
    data::{Order, Problem},
    events::Events,
    feed::Feed,
    file,
    groups::Groups,
    network::{self, Network},
    recipe::Recipe,
    sheet,
    task::Task,
    weights::{self, Weights},
};

/// A training that is ready to begin, or to go on.
pub struct Trainer<'a> {
    recipe: Recipe,
    registry: &'a Registry,
    pipeline: Pipeline,
    task: Task,
    feed: Feed,
    held_out: Option<Feed>,
    order: Order,
    network: Network,
    optimizer: ModelOptimizer,
    average: Option<Weights>,
    step: usize,
    steps: usize,
}

/// How far a training is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps asked for.
    pub of: usize,
    /// Loss of the last step.
    pub loss: f64,
    /// Batches of an epoch.
    pub batches: usize,
    /// Epochs begun.
    pub epochs: usize,
}

/// What became of a training.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Steps done.
    pub steps: usize,
    /// Mean loss of the last epoch.
    pub loss: Option<f64>,
    /// Loss of the images that were held out, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Trained numbers.
    pub parameters: usize,
    /// Images that were trained on.
    pub images: usize,
    /// Images that were left out, and why.
    pub left_out: Vec<Problem>,
    /// Name of the adapter file in the folder of the run.
    pub file: String,
}

impl<'a> Trainer<'a> {
    /// Reads images, model and captions of a [located](Recipe::located) recipe; nothing is written but
    /// the cache. `tell` is told each part of that work and how many there are.
    ///
    /// # Errors
    /// When anything of the recipe cannot be had.
    pub fn new(
        recipe: Recipe,
        registry: &'a Registry,
        device: &Device,
        skip_bad: bool,
        tell: &mut dyn FnMut(&str, usize),
    ) -> Result<Self, TrainError> {
        let preset = recipe.adapter.preset()?;
        network::injection(&recipe.adapter, &preset, recipe.seed).check(registry)?;
        let mut feed = Feed::new(&recipe.data, &recipe.data.concepts, skip_bad)?;
        let held_out = recipe.validation.as_ref();
        let mut held_out =
            held_out.map(|it| Feed::new(&recipe.data, &it.concepts, skip_bad)).transpose()?;
        feed.left_out.extend(held_out.iter().flat_map(|it| it.left_out.clone()));
        let dtype = recipe.train.dtype.on(device)?;
        let pipeline = match recipe.model.is_file() {
            true => {
                let config = recipe.config.as_deref();
                Pipeline::read_file(&recipe.model, config, device, dtype)?
            }
            false => Pipeline::read(&recipe.model, device, dtype)?,
        };
        let task = Task::new(&recipe, &pipeline)?;
        for feed in [Some(&mut feed), held_out.as_mut()].into_iter().flatten() {
            feed.prepare(&pipeline, tell)?;
        }
        let network = Network::new(&pipeline, &recipe.adapter, &preset, registry, recipe.seed)?;
        let published = recipe.adapter.scale_from.map(|from| {
            let mut adapter = recipe.adapter.clone();
            adapter.options.insert("alpha".into(), from.alpha.into());
            Network::new(&pipeline, &adapter, &preset, registry, recipe.seed)
        });
        let groups = Groups::new(&recipe, &network, published.transpose()?.as_ref())?;
        let network = groups.start(network).checkpointed(recipe.train.gradient_checkpointing);
        if recipe.objective.orthogonality != 0.0 {
            network.orthogonality()?;
        }
        let order = feed.order(recipe.seed, recipe.train.batch);
        let per_epoch = order.batches().div_ceil(recipe.train.accumulation);
        let epochs = recipe.train.epochs.map(|epochs| epochs * per_epoch);
        let steps = recipe.train.steps.or(epochs).unwrap_or_default();
        let average = recipe.train.ema.map(|_| weights::read(&network));
        let optimizer = groups.optimizer(&recipe)?;
        Ok(Self {
            recipe,
            registry,
            pipeline,
            task,
            feed,
            held_out,
            order,
            network,
            optimizer,
            average,
            step: 0,
            steps,
        })
    }

    /// Trains until the end, or until `stop` is set. `tell` is told of every step.
    ///
    /// # Errors
    /// When a number is no longer finite, it was asked to stop, or a file cannot be written; in each case
    /// a checkpoint says how far it came.
    pub fn run(
        &mut self,
        run: &mut Run,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<Outcome, TrainError> {
        let folder = run.checkpoints()?;
        let mut last = self.resume(run, &folder)?;
        if self.step == 0 {
            sheet::clear(run.folder())?;
            self.look(run)?;
        }
        while self.step < self.steps {
            let loss = match self.advance() {
                Ok(loss) => loss,
                Err(TrainError::NotFinite { what, step, layer, batch, .. }) => {
                    let kept = self.keep_last_good(run, &folder, last)?;
                    return Err(TrainError::NotFinite { what, step, layer, batch, kept });
                }
                Err(error) => return Err(error),
            };
            let norm = self.optimizer.norms().iter().map(|n| n * n).sum::<f64>().sqrt();
            let rate = self.recipe.train.schedule.factor(self.step - 1, self.steps)
                * self.recipe.train.rate;
            let mut line =
                json!({ "step": self.step, "loss": loss, "rate": rate, "gradient_norm": norm });
            if let Some(validation) = self.validate()? {
                line["validation"] = json!(validation);
            }
            run.record(&line)?;
            tell(&self.progress(loss));
            self.look(run)?;
            let stopped = stop.load(Ordering::Relaxed) && self.step < self.steps;
            let every = self.recipe.train.checkpoint;
            if stopped || (every > 0 && self.step.is_multiple_of(every)) || self.step == self.steps
            {
                self.checkpoint(run)?.save(&folder, self.recipe.train.keep)?;
                last = Some(self.step);
                Events::of(&run.metrics()?).write(run.folder())?;
            }
            if stopped {
                return Err(TrainError::Stopped { step: self.step, of: self.steps });
            }
        }
        // It may have been killed between the last checkpoint and this.
        Events::of(&run.metrics()?).write(run.folder())?;
        self.finish(run)
    }

    /// Images of a run that can be trained on, and those that are left out.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Steps asked for.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        weights::read(&self.network).values().map(|data| data.num_elements()).sum()
    }

    /// Takes up the last checkpoint; gives its step.
    fn resume(&mut self, run: &mut Run, folder: &Path) -> Result<Option<usize>, TrainError> {
        let Some(checkpoint) = Checkpoint::last(folder)? else {
            run.rewind(0)?;
            return Ok(None);
        };
        let Checkpoint { step, lines, weights, average, optimizer } = checkpoint;
        let known = weights::read(&self.network);
        if !known.keys().eq(weights.keys()) {
            let reason = "is of other adapters".into();
            return Err(TrainError::Checkpoint { path: folder.into(), reason });
        }
        self.network = weights::write(self.network.clone(), &weights);
        self.average = average.or(self.average.take());
        let unreadable = |error: burn::store::RecordError| TrainError::Checkpoint {
            path: folder.into(),
            reason: error.to_string(),
        };
        self.optimizer = self.optimizer.clone().restored(optimizer).map_err(unreadable)?;
        self.step = step;
        run.rewind(lines)?;
        Ok(Some(step))
    }

    fn checkpoint(&self, run: &Run) -> Result<Checkpoint, TrainError> {
        let unwritable = |error: burn::store::RecordError| TrainError::Checkpoint {
            path: run.folder().into(),
            reason: error.to_string(),
        };
        Ok(Checkpoint {
            step: self.step,
            lines: run.metrics()?.len(),
            weights: weights::read(&self.network),
            average: self.average.clone(),
            optimizer: self.optimizer.state().map_err(unwritable)?,
        })
    }

    /// Keeps the state before a step that failed, where it is whole. Says what there is.
    fn keep_last_good(
        &self,
        run: &Run,
        folder: &Path,
        last: Option<usize>,
    ) -> Result<String, TrainError> {
        let checkpoint = self.checkpoint(run)?;
        if weights::first_not_finite(&checkpoint.weights).is_none() && self.step > 0 {
            checkpoint.save(folder, self.recipe.train.keep)?;
            return Ok(format!("the state of step {} is kept in {}", self.step, folder.display()));
        }
        Ok(match last {
            Some(step) => format!("the state of step {step} is kept in {}", folder.display()),
            None => "no step before it was whole".into(),
        })
    }

    fn progress(&self, loss: f64) -> Progress {
        let batches = self.order.batches();
        let epochs = (self.step * self.recipe.train.accumulation).div_ceil(batches);
        Progress { step: self.step, of: self.steps, loss, batches, epochs }
    }

    fn finish(&self, run: &Run) -> Result<Outcome, TrainError> {
        let name = format!("{}.safetensors", self.recipe.name);
        let lines = run.metrics()?;
        let per_epoch = self.order.batches().div_ceil(self.recipe.train.accumulation);
        let losses = lines.iter().rev().take(per_epoch).filter_map(|line| line["loss"].as_f64());
        let losses: Vec<f64> = losses.collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let metadata = file::metadata(
            &self.recipe,
            &self.feed,
            self.task.prediction,
            &self.pipeline,
            &self.progress(mean),
        );
        let path = run.folder().join(&name);
        file::save(&path, &self.shown(), &self.pipeline, self.registry, metadata)?;
        Ok(Outcome {
            steps: self.step,
            loss: (!losses.is_empty()).then_some(mean),
            validation: lines.last().and_then(|line| line["validation"].as_f64()),
            parameters: self.parameters(),
            images: self.feed.pictures.len(),
            left_out: self.feed.left_out.clone(),
            file: name,
        })
    }
}

fn number_of(tensor: &Tensor<1>) -> f64 {
    tensor.to_data().iter::<f64>().sum()
}
