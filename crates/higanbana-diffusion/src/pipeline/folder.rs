//! A pipeline's models, from a folder as diffusers saves it.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use serde_json::Value;

use super::encode::TextEncoder;
use crate::{
    AutoencoderKL, CLIPTextModel, ModelError, UNet2DConditionModel, config::Fields,
    schedulers::SchedulerConfig, text::Tokenizer,
};

/// The models between a prompt and an image.
#[derive(Debug)]
pub struct Pipeline {
    /// Where they came from.
    pub path: PathBuf,
    /// The denoiser.
    pub unet: UNet2DConditionModel,
    /// Latents to images.
    pub vae: AutoencoderKL,
    /// One text encoder, SDXL's two.
    pub encoders: Vec<TextEncoder>,
    /// The scheduler that the model was published with.
    pub scheduler: SchedulerConfig,
    /// Whether diffusers [revises](SchedulerConfig::revised) that where it is the one that is used.
    pub revises_scheduler: bool,
    /// Whether no negative prompt means zeros instead of an empty text.
    pub zeros_for_nothing: bool,
    /// Where it computes.
    pub device: Device,
    /// What it computes in.
    pub dtype: DType,
}

const CLASSES: [&str; 6] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
];

impl Pipeline {
    /// Reads a folder with `model_index.json`.
    ///
    /// # Errors
    /// When the pipeline is of another kind, or a part is missing, unsupported or does not fit.
    pub fn read(folder: &Path, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let index = folder.join("model_index.json");
        let mut fields = Fields::read(&index, &CLASSES)?;
        let class = fields.class().unwrap_or(CLASSES[0]);
        let xl = class.contains("XL");
        let revises_scheduler = !xl && !class.contains("LatentConsistency");
        // The mention of a part: its library and class, or nulls.
        let has = |value: &Value| value.get(1).is_some_and(Value::is_string);
        let mut encoders = Vec::new();
        for (encoder, tokenizer) in
            [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")]
        {
            if has(&fields.take(encoder, Value::Null)?) {
                encoders.push(TextEncoder {
                    tokenizer: Tokenizer::read(&folder.join(tokenizer))?,
                    model: CLIPTextModel::read(&folder.join(encoder), device, dtype)?,
                });
            }
        }
        if encoders.len() != if xl { 2 } else { 1 } {
            return Err(fields.wrong("text_encoder", "or text_encoder_2 is missing"));
        }
        let unet = UNet2DConditionModel::read(&folder.join("unet"), device, dtype)?;
        let vae = folder.join("vae");
        let upcast = crate::VaeConfig::read(&vae.join("config.json"))?.force_upcast;
        let vae = AutoencoderKL::read(&vae, device, if upcast { DType::F32 } else { dtype })?;
        let scheduler = folder.join("scheduler").join("scheduler_config.json");
        let pipeline = Self {
            path: folder.into(),
            unet,
            vae,
            encoders,
            scheduler: SchedulerConfig::read(&scheduler)?,
            revises_scheduler,
            zeros_for_nothing: fields.take("force_zeros_for_empty_prompt", xl)? && xl,
            device: device.clone(),
            dtype,
        };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// That the models suit each other.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let wrong = |reason| Err(ModelError::Config { path: self.path.clone(), reason });
        let unet = self.unet.config();
        let latent = self.vae.config().latent_channels;
        if unet.in_channels != latent || unet.out_channels != latent {
            let (input, output) = (unet.in_channels, unet.out_channels);
            return wrong(format!(
                "its UNet takes {input} channels and gives {output}; the autoencoder has {latent}"
            ));
        }
        let context = unet.levels[unet.levels.len() - 1].context;
        let width: usize = self.encoders.iter().map(|encoder| encoder.model.config().width).sum();
        if context != width {
            return wrong(format!("its UNet takes a text of width {context}; there is {width}"));
        }
        Ok(())
    }
}
