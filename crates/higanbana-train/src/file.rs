//! The adapter as a file: LyCORIS's tensors under kohya's names, with the metadata that the field reads; or the
//! trained model as a folder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use burn::tensor::DType;
use higanbana_core::{Registry, Tensors};
use higanbana_diffusion::{Pipeline, schedulers::Prediction};
use higanbana_io::{AdapterFile, Dialect, Names, cast, dialect, ledger::Ledger};
use serde_json::json;

use crate::{
    Progress, Recipe, TrainError, data::caption::tags as tags_of, feed::Feed, network::Network,
};

/// The adapters of a network, and what their file says and holds besides.
pub struct Adapters<'a> {
    /// The network.
    pub network: &'a Network,
    /// The models that it was made of.
    pub pipeline: &'a Pipeline,
    /// The algorithms there are.
    pub registry: &'a Registry,
    /// Tensors of embeddings that the file brings along.
    pub bundled: Tensors,
    /// The header's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Element type of its tensors.
    pub dtype: DType,
}

impl Adapters<'_> {
    /// Writes them into the folder of a run.
    ///
    /// # Errors
    /// When a module has no name, a value is not finite in that element type, or the file cannot be written.
    pub fn save(self, files: &mut Ledger, name: &str) -> Result<(), TrainError> {
        let Self { network, pipeline, registry, bundled, metadata, dtype } = self;
        let path = &files.folder().join(name);
        let mut modules = BTreeMap::<String, Tensors>::new();
        for (prefix, site, adapter) in network.adapters()? {
            let module = modules.entry(format!("{prefix}.{}", site.path)).or_default();
            for (key, data) in adapter.write(&site) {
                // A seed is an integer, which the precision of floats has no part in.
                let data = match data.dtype().is_float() {
                    true => cast::cast(data, dtype).expect("it is not quantised"),
                    false => data,
                };
                cast::check_finite(path, &format!("{}.{key}", site.path), &data)?;
                module.insert(key, data);
            }
        }
        let shapes: HashMap<String, Vec<usize>> =
            pipeline.tensors().into_iter().map(|tensor| (tensor.key, tensor.shape)).collect();
        let names = Names::new(shapes.keys());
        let described = dialect::Network::of(registry, modules.values())
            .on(&names, |key| shapes.get(key).map(Vec::as_slice));
        bundled.iter().try_for_each(|(key, data)| cast::check_finite(path, key, data))?;
        // The paths of modules are dotted, below the component's.
        let file = AdapterFile::new(path, Dialect::Diffusers, modules);
        let file = AdapterFile { metadata, carried: bundled, ..file };
        let encoded = file.encode(registry, Dialect::Kohya, Some(&names), &described)?;
        files.write(name, |path, replaces| Ok(encoded.stage(path, replaces)?))
    }
}

/// Writes the models of a pipeline as a folder of a run, in the place of one that the run wrote before.
///
/// # Errors
/// When a weight is not finite in that element type, or the folder cannot be written.
pub fn save_model(
    files: &mut Ledger,
    name: &str,
    pipeline: &Pipeline,
    dtype: DType,
) -> Result<(), TrainError> {
    files.write_folder(name, |folder| Ok(pipeline.fill(folder, dtype)?))
}

/// What the field's tools read of a training. Nothing in it depends on when or where it ran.
pub fn metadata(
    recipe: &Recipe,
    feed: &Feed,
    prediction: Prediction,
    pipeline: &Pipeline,
    progress: &Progress,
) -> BTreeMap<String, String> {
    let train = &recipe.train;
    let [width, height] = recipe.data.resolution.size();
    let (regular, trained): (Vec<usize>, Vec<usize>) =
        (0..feed.pictures.len()).partition(|index| feed.is_regular(*index));
    // Each as often as it counts in an epoch.
    let samples = |of: Vec<usize>| of.iter().map(|it| feed.pictures[*it].repeats).sum::<usize>();
    let none = || "None".to_string();
    let number = |value: Option<f64>| value.map_or_else(none, |value| value.to_string());
    let velocity = prediction == Prediction::Velocity;
    let context = pipeline.unet.config().levels.last().map_or(0, |level| level.context);
    let v2 = if context == 1024 { "True" } else { "False" };
    let model = recipe.model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let architecture = match (context, pipeline.encoders.len()) {
        _ if pipeline.vae.is_none() => "pixel-diffusion",
        (_, 2) => "stable-diffusion-xl-v1-base",
        (1024, _) if velocity => "stable-diffusion-v2-768-v",
        (1024, _) => "stable-diffusion-v2-512",
        _ => "stable-diffusion-v1",
    };
    let trains_text = recipe.adapter.as_ref().is_some_and(|adapter| adapter.text_encoder);
    let text_rate = train.text_encoder_rate.unwrap_or(train.rate);
    let entries = [
        ("ss_output_name", recipe.name.clone()),
        ("ss_sd_model_name", model),
        ("ss_v2", v2.into()),
        ("ss_seed", recipe.seed.to_string()),
        ("ss_learning_rate", train.rate.to_string()),
        ("ss_unet_lr", train.rate.to_string()),
        ("ss_text_encoder_lr", number(trains_text.then_some(text_rate))),
        ("ss_optimizer", train.optimizer.clone()),
        ("ss_lr_scheduler", train.schedule.name().into()),
        ("ss_lr_warmup_steps", train.schedule.warmup.to_string()),
        ("ss_max_train_steps", progress.of.to_string()),
        ("ss_steps", progress.step.to_string()),
        ("ss_num_epochs", progress.epochs.to_string()),
        ("ss_num_batches_per_epoch", progress.batches.to_string()),
        ("ss_batch_size_per_device", train.batch.to_string()),
        ("ss_gradient_accumulation_steps", train.accumulation.to_string()),
        ("ss_max_grad_norm", number(train.clip)),
        ("ss_num_train_images", samples(trained).to_string()),
        ("ss_num_reg_images", samples(regular).to_string()),
        ("ss_resolution", format!("({width}, {height})")),
        ("ss_enable_bucket", if recipe.data.buckets.is_some() { "True" } else { "False" }.into()),
        ("ss_clip_skip", (recipe.data.clip_skip + 1).to_string()),
        ("ss_min_snr_gamma", number(recipe.objective.min_snr_gamma)),
        ("ss_noise_offset", recipe.objective.noise_offset.to_string()),
        ("ss_prior_loss_weight", recipe.objective.prior_weight.to_string()),
        ("ss_caption_dropout_rate", recipe.data.captions.dropout.to_string()),
        (
            "ss_zero_terminal_snr",
            if recipe.objective.zero_terminal_snr { "True" } else { "False" }.into(),
        ),
        ("ss_tag_frequency", tags(feed).to_string()),
        ("modelspec.sai_model_spec", "1.0.0".into()),
        ("modelspec.architecture", format!("{architecture}/lora")),
        ("modelspec.title", recipe.name.clone()),
        ("modelspec.resolution", format!("{width}x{height}")),
        ("modelspec.prediction_type", if velocity { "v" } else { "epsilon" }.into()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// How many images of each folder have a tag among the texts that they are trained with.
fn tags(feed: &Feed) -> serde_json::Value {
    let mut folders = BTreeMap::<String, BTreeMap<String, usize>>::new();
    for (index, picture) in feed.pictures.iter().enumerate() {
        let folder = picture.path.parent().and_then(Path::file_name).unwrap_or_default();
        let counts = folders.entry(folder.to_string_lossy().into_owned()).or_default();
        let texts = feed.texts_of(index);
        let own: BTreeSet<String> =
            texts.iter().flat_map(|text| tags_of(text)).map(str::to_lowercase).collect();
        own.into_iter().for_each(|tag| *counts.entry(tag).or_default() += 1);
    }
    json!(folders)
}
