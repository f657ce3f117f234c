//! What a training is asked for: `RUN.toml`.
//!
//! ```toml
//! model = "sd15"                    # a folder of diffusers, or a single file; paths are those of this file
//! seed = 23
//!
//! [adapter]
//! algorithm = "loha"
//! preset = "attn-mlp"
//! options = { rank = 8, alpha = 4.0 }
//!
//! [data]
//! resolution = 512
//! buckets = {}
//! concepts = [{ folder = "images", repeats = 10 }]
//!
//! [objective]
//! min_snr_gamma = 5.0
//!
//! [train]
//! steps = 1000
//! batch = 2
//! rate = 5e-4
//! ```
//!
//! Without `adapter` the model itself is trained, and with `from_scratch` from random initial values. With
//!
//! ```toml
//! [[embeddings]]
//! token = "<lily>"
//! words = "red flower"
//! ```
//!
//! the vectors of a new token are trained beside the adapter, or in place of the model.

mod embedding;
mod numbers;
mod paths;
mod read;
mod set;

pub use embedding::Embedding;
pub(crate) use numbers::MOST_STEPS;

use std::path::{Path, PathBuf};

use higanbana_adapters::inject::{Pattern, Preset, Rule};
use serde::{Deserialize, Serialize};

use crate::{
    TrainError, data::Data, objective::Objective, precision::Precision, schedule::Schedule,
};

/// What a training is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The model: a folder as diffusers saves it, or a single file of the web UIs.
    pub model: PathBuf,
    /// With a single file that is no published model's: a model folder with its configurations.
    pub config: Option<PathBuf>,
    /// Whether its UNet and its text encoders begin from random values: their weights are not read.
    #[serde(default)]
    pub from_scratch: bool,
    /// Seed of everything that is drawn.
    #[serde(default)]
    pub seed: u64,
    /// Name of the adapter file, without its extension, or of the folder of the trained model.
    #[serde(default = "name")]
    pub name: String,
    /// Element type of what is written there.
    #[serde(default)]
    pub precision: Precision,
    /// The adapter that is trained; if there is none, and no embedding is, the model itself, its text encoders
    /// too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    /// Tokens that texts may hold besides those of the model's vocabulary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Embedding>,
    /// What there is to learn from.
    pub data: Data,
    /// What is minimised.
    #[serde(default)]
    pub objective: Objective,
    /// How.
    pub train: Train,
    /// Images on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Loss of images that are not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// The adapter that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Name of the algorithm.
    pub algorithm: String,
    /// A built-in preset, or a file of one.
    #[serde(default = "preset")]
    pub preset: String,
    /// Options of the algorithm.
    #[serde(default)]
    pub options: toml::Table,
    /// Rules below those of the preset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Whether the text encoders get adapters too.
    #[serde(default)]
    pub text_encoder: bool,
    /// The alpha that rates and hyperparameters were published for: they are scaled to the one in use, so
    /// that the training is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_from: Option<ScaleFrom>,
    /// A file of the same adapters, from which the training begins instead of from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
}

impl Adapter {
    /// The preset.
    ///
    /// # Errors
    /// When there is none of the name, or its file cannot be read.
    pub fn preset(&self) -> Result<Preset, TrainError> {
        let path = Path::new(&self.preset);
        if path.extension().is_none_or(|extension| extension != "toml") {
            return Ok(Preset::built_in(&self.preset)?);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| TrainError::recipe(path, format!("cannot be read ({error})")))?;
        Ok(Preset::parse(&self.preset, &text)?)
    }
}

/// A published setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleFrom {
    /// Its alpha.
    pub alpha: f64,
}

/// How it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Number of steps; instead of epochs. A run goes on to more of them, also when it is done, if it is
    /// resumed with a larger number; its schedule is from there on that of the new number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Number of epochs; instead of steps. Every image is seen as often as that: a step goes on from one
    /// epoch into the next, and the last one has the batches that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Images of a batch.
    #[serde(default = "one")]
    pub batch: usize,
    /// Batches of a step.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Name of the optimizer.
    #[serde(default = "optimizer")]
    pub optimizer: String,
    /// Its hyperparameters, besides the learning rate.
    #[serde(default)]
    pub options: std::collections::BTreeMap<String, f64>,
    /// Learning rate.
    pub rate: f64,
    /// Learning rate of the text encoders; the same if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder_rate: Option<f64>,
    /// How much faster the factors learn that start from zero (LoRA+, arXiv:2402.12354).
    #[serde(default = "unit")]
    pub loraplus: f64,
    /// Factors of the rate of some layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// How the rate goes with the steps.
    #[serde(default)]
    pub schedule: Schedule,
    /// Bound on the norm of the gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Whether each group of parameters keeps that bound by itself.
    #[serde(default)]
    pub clip_groups: bool,
    /// Decay of an average of the weights, which is what is saved then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Whether the average follows the weights faster at the beginning: its decay after $n$ steps is then
    /// $(1+n)/(10+n)$ where that is less, as diffusers has it. On, if nothing is said; without, a decay of
    /// 0.9999 keeps next to nothing of what a hundred steps have learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_warmup: Option<bool>,
    /// Whether the graph keeps of each residual and each transformer block of the UNet the inputs alone:
    /// one more forward pass for much less memory. Gradients are added up in another order.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// What the models compute in.
    #[serde(default)]
    pub dtype: Precision,
    /// Steps from one checkpoint to the next; 0 for none but the last.
    #[serde(default = "every")]
    pub checkpoint: usize,
    /// Checkpoints that are kept.
    #[serde(default = "keep")]
    pub keep: usize,
    /// Whether the adapter is written at each checkpoint too, as `NAME-step00000500.safetensors`; these files
    /// stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshots: bool,
}

/// A factor of the rate of some layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Patterns over paths of layers, as in rules of presets.
    pub paths: Vec<Pattern>,
    /// The factor; 0 leaves them as they are.
    pub rate: f64,
}

/// Images on the way: rows of a contact sheet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Steps from one row to the next.
    pub every: usize,
    /// What the images show, one of each row.
    pub prompts: Vec<String>,
    /// What they do not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Seed of the noise.
    #[serde(default)]
    pub seed: u64,
    /// Steps of each image.
    #[serde(default = "sample_steps")]
    pub steps: usize,
    /// How much more an image follows its prompt than the negative one.
    #[serde(default = "guidance")]
    pub guidance: f64,
    /// The scheduler; the model's own if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Height and width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
}

/// Loss of images that are not trained on, with the same noise every time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Steps from one measurement to the next.
    pub every: usize,
    /// The images.
    pub concepts: Vec<crate::data::Concept>,
    /// The times at which each is measured.
    #[serde(default = "times")]
    pub times: Vec<usize>,
}

fn one() -> usize {
    1
}

fn unit() -> f64 {
    1.0
}

fn every() -> usize {
    500
}

fn keep() -> usize {
    2
}

fn sample_steps() -> usize {
    25
}

fn guidance() -> f64 {
    7.5
}

fn times() -> Vec<usize> {
    vec![100, 300, 500, 700, 900]
}

fn name() -> String {
    "adapter".into()
}

fn preset() -> String {
    "attn-mlp".into()
}

fn optimizer() -> String {
    "adamw".into()
}
