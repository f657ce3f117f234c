//! The training itself: step after step, from wherever it stopped.

mod looks;
mod state;
mod step;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use burn::tensor::{Device, Tensor};
use higanbana_core::Registry;
use higanbana_diffusion::Pipeline;
use higanbana_io::run::Run;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    ModelOptimizer, Progress, TrainError,
    data::{Order, Problem},
    events::Events,
    feed::Feed,
    groups::Groups,
    init,
    network::{self, Network},
    recipe::{Adapter, MOST_STEPS, Recipe},
    sheet,
    task::Task,
    tokens::{self, Token},
    weights::{self, Weights},
};

/// A training that is ready to begin, or to go on.
pub struct Trainer<'a> {
    recipe: Recipe,
    registry: &'a Registry,
    pipeline: Pipeline,
    tokens: Vec<Token>,
    task: Task,
    feed: Feed,
    held_out: Option<Feed>,
    order: Order,
    network: Network,
    optimizer: ModelOptimizer,
    average: Option<Weights>,
    step: usize,
    steps: usize,
    /// Batches that were seen, and those of all steps.
    seen: usize,
    batches: usize,
    /// How long the steps of this process took, and their number.
    timed: (Duration, u32),
}

/// What became of a training.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// What else there was to say of the folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Seconds of a step in the process that did the last one; without validation and images.
    pub step_seconds: Option<f64>,
    /// Name of the adapter file, or of the model's folder, in the folder of the run.
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
        if let Some(adapter) = &recipe.adapter {
            network::injection(adapter, &adapter.preset()?, recipe.seed).check(registry)?;
        }
        let mut feed = Feed::new(&recipe.data, &recipe.data.concepts, skip_bad)?;
        let held_out = recipe.validation.as_ref();
        let mut held_out =
            held_out.map(|it| Feed::new(&recipe.data, &it.concepts, skip_bad)).transpose()?;
        feed.left_out.extend(held_out.iter().flat_map(|it| it.left_out.clone()));
        let mut pipeline = pipeline(&recipe, device)?;
        let tokens = tokens::learn(&mut pipeline, &recipe)?;
        if let Some(sample) = &recipe.sample {
            sheet::check(sample, recipe.data.clip_skip, &pipeline)?;
        }
        let task = Task::new(&recipe, &pipeline)?;
        for feed in [Some(&mut feed), held_out.as_mut()].into_iter().flatten() {
            feed.prepare(&pipeline, tell)?;
        }
        if let Some(silent) =
            tokens.iter().find(|it| it.rate.is_some() && !feed.says(&it.token, &pipeline))
        {
            let reason =
                format!("embeddings: no caption holds {}, which is to be trained", silent.token);
            return Err(TrainError::recipe("RUN.toml", reason));
        }
        let (network, published) = networks(&recipe, &pipeline, registry)?;
        let trained = tokens::trained(&tokens);
        let network = network.learning(&trained);
        let groups = Groups::new(&recipe, &network, published.as_ref(), &tokens)?;
        let mut network = groups.start(network);
        if let Some(file) = recipe.adapter.as_ref().and_then(|it| it.init_from.as_deref()) {
            if published.is_some() {
                let reason = "adapter.init_from: begins at the alpha in use; leave out scale_from";
                return Err(TrainError::recipe("RUN.toml", reason));
            }
            network = init::started(network, file, &pipeline, registry, &trained)?;
        }
        let network = network.checkpointed(recipe.train.gradient_checkpointing);
        if recipe.objective.orthogonality != 0.0 {
            network.orthogonality()?;
        }
        let order = feed.order(recipe.seed, recipe.train.batch);
        let accumulation = recipe.train.accumulation;
        let batches = match (recipe.train.steps, recipe.train.epochs) {
            (Some(steps), _) => steps.saturating_mul(accumulation),
            (None, epochs) => epochs.unwrap_or_default().saturating_mul(order.batches()),
        };
        let steps = batches.div_ceil(accumulation);
        if steps > MOST_STEPS {
            let reason = format!("train.epochs: are {steps} steps; {MOST_STEPS} at most");
            return Err(TrainError::recipe("RUN.toml", reason));
        }
        let average = recipe.train.ema.map(|_| weights::read(&network));
        let optimizer = groups.optimizer(&recipe);
        Ok(Self {
            recipe,
            registry,
            pipeline,
            tokens,
            task,
            feed,
            held_out,
            order,
            network,
            optimizer,
            average,
            step: 0,
            steps,
            seen: 0,
            batches,
            timed: (Duration::ZERO, 0),
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
        let mut last = self.resume(run)?;
        if self.step == 0 {
            sheet::clear(run.files())?;
            self.look(run)?;
        }
        while self.step < self.steps {
            let begin = Instant::now();
            let loss = match self.advance() {
                Ok(loss) => loss,
                Err(TrainError::NotFinite { what, step, layer, batch, .. }) => {
                    let kept = self.keep_last_good(run, last)?;
                    return Err(TrainError::NotFinite { what, step, layer, batch, kept });
                }
                Err(error) => return Err(error),
            };
            self.timed = (self.timed.0 + begin.elapsed(), self.timed.1 + 1);
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
            let due = every > 0 && self.step.is_multiple_of(every);
            if due && self.recipe.train.snapshots {
                self.save_adapter(run, &self.recipe.snapshot(self.step), loss)?;
            }
            if stopped || due || self.step == self.steps {
                self.checkpoint(run)?.save(run.files(), self.recipe.train.keep)?;
                last = Some(self.step);
                Events::of(&run.metrics()?).write(run.files())?;
            }
            if stopped {
                return Err(TrainError::Stopped { step: self.step, of: self.steps });
            }
        }
        // It may have been killed between the last checkpoint and this.
        Events::of(&run.metrics()?).write(run.files())?;
        self.finish(run)
    }

    /// Images of a run that can be trained on, and those that are left out.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What there is to say of the folders before the training begins, but for what is left out.
    pub fn notes(&self) -> Vec<String> {
        let feeds = [Some(&self.feed), self.held_out.as_ref()];
        let mut lines = Vec::new();
        for line in feeds.into_iter().flatten().flat_map(|feed| feed.notes.lines()) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// Steps asked for.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        weights::read(&self.network).values().map(|data| data.num_elements()).sum()
    }

    fn progress(&self, loss: f64) -> Progress {
        let batches = self.order.batches();
        let epochs = self.seen.div_ceil(batches);
        Progress { step: self.step, of: self.steps, loss, batches, epochs }
    }

    fn finish(&mut self, run: &mut Run) -> Result<Outcome, TrainError> {
        let lines = run.metrics()?;
        let per_epoch = self.order.batches().div_ceil(self.recipe.train.accumulation);
        let losses = lines.iter().rev().take(per_epoch).filter_map(|line| line["loss"].as_f64());
        let losses: Vec<f64> = losses.collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let file = self.save(run, mean)?;
        let (time, timed) = self.timed;
        Ok(Outcome {
            steps: self.step,
            loss: (!losses.is_empty()).then_some(mean),
            validation: lines.last().and_then(|line| line["validation"].as_f64()),
            parameters: self.parameters(),
            images: self.feed.pictures.len(),
            left_out: self.feed.left_out.clone(),
            notes: self.notes(),
            step_seconds: (timed > 0).then(|| time.as_secs_f64() / f64::from(timed)),
            file,
        })
    }
}

/// The models of a recipe.
fn pipeline(recipe: &Recipe, device: &Device) -> Result<Pipeline, TrainError> {
    let model = &recipe.model;
    if recipe.trains_model() && model.is_file() {
        let reason = "model: a model that is trained itself is a folder, as diffusers saves it";
        return Err(TrainError::recipe("RUN.toml", reason));
    }
    let dtype = recipe.train.dtype.on(device)?;
    let mut pipeline = match (model.is_file(), recipe.from_scratch) {
        (true, _) => Pipeline::read_file(model, recipe.config.as_deref(), device, dtype)?,
        (false, true) => Pipeline::untrained(model, device, recipe.seed)?,
        (false, false) => Pipeline::read(model, device, dtype)?,
    };
    pipeline.scheduler = recipe.objective.scheduler(&pipeline.scheduler);
    Ok(pipeline)
}

/// The network of a recipe, and one with the alpha to scale from.
fn networks(
    recipe: &Recipe,
    pipeline: &Pipeline,
    registry: &Registry,
) -> Result<(Network, Option<Network>), TrainError> {
    let Some(adapter) = &recipe.adapter else {
        let whole = recipe.trains_model();
        return Ok((
            if whole { Network::whole(pipeline) } else { Network::frozen(pipeline) },
            None,
        ));
    };
    let preset = adapter.preset()?;
    let adapted =
        |adapter: &Adapter| Network::adapted(pipeline, adapter, &preset, registry, recipe.seed);
    let published = adapter.scale_from.map(|from| {
        let mut adapter = adapter.clone();
        adapter.options.insert("alpha".into(), from.alpha.into());
        adapted(&adapter)
    });
    Ok((adapted(adapter)?, published.transpose()?))
}

fn number_of(tensor: &Tensor<1>) -> f64 {
    tensor.to_data().iter::<f64>().sum()
}
