//! A pipeline's models, from a folder as diffusers saves it.
//!
//! A model of pixels has no autoencoder: its UNet sees the image itself, in [-1, 1]. diffusers has no class
//! for that with CLIP's text encoder, so that the folder names one of ours, [`PIXELS`].

use std::path::{Path, PathBuf};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use serde_json::Value;

use super::encode::TextEncoder;
use crate::{
    AutoencoderKL, CLIPTextModel, ClipConfig, ModelError, UNet2DConditionModel, UNetConfig,
    VaeConfig, config::Fields, schedulers::SchedulerConfig, text::Tokenizer,
};

/// The models between a prompt and an image.
#[derive(Debug)]
pub struct Pipeline {
    /// Where they came from.
    pub path: PathBuf,
    /// The denoiser.
    pub unet: UNet2DConditionModel,
    /// Latents to images; none where the UNet sees pixels.
    pub vae: Option<AutoencoderKL>,
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

/// The class of a model without an autoencoder.
pub const PIXELS: &str = "PixelDiffusionPipeline";

const CLASSES: [&str; 7] = [
    PIXELS,
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
        Self::assemble(
            folder,
            device,
            dtype,
            |folder| UNet2DConditionModel::read(folder, device, dtype),
            |folder| CLIPTextModel::read(folder, device, dtype),
        )
    }

    /// The same with a UNet and text encoders that have not learnt anything: of the folder the
    /// configurations, the tokenizers and the autoencoder are read, and the initial values are drawn.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn untrained(folder: &Path, device: &Device, seed: u64) -> Result<Self, ModelError> {
        device.seed(seed);
        let config = |folder: &Path| folder.join("config.json");
        Self::assemble(
            folder,
            device,
            DType::F32,
            |folder| {
                let config = UNetConfig::read(&config(folder))?;
                Ok(drawn(UNet2DConditionModel::new(&config, device)))
            },
            |folder| {
                let config = ClipConfig::read(&config(folder))?;
                Ok(drawn(CLIPTextModel::new(&config, device)))
            },
        )
    }

    /// A folder's parts, with the UNet and the text encoders that these make of their folders.
    fn assemble(
        folder: &Path,
        device: &Device,
        dtype: DType,
        unet: impl Fn(&Path) -> Result<UNet2DConditionModel, ModelError>,
        encoder: impl Fn(&Path) -> Result<CLIPTextModel, ModelError>,
    ) -> Result<Self, ModelError> {
        let index = folder.join("model_index.json");
        let mut fields = Fields::read(&index, &CLASSES)?;
        let class = fields.class().unwrap_or(CLASSES[0]);
        let xl = class.contains("XL");
        let pixels = class == PIXELS;
        let revises_scheduler = !xl && !pixels && !class.contains("LatentConsistency");
        // The mention of a part: its library and class, or nulls.
        let has = |value: &Value| value.get(1).is_some_and(Value::is_string);
        let mut encoders = Vec::new();
        for (name, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")]
        {
            if has(&fields.take(name, Value::Null)?) {
                encoders.push(TextEncoder {
                    tokenizer: Tokenizer::read(&folder.join(tokenizer))?,
                    model: encoder(&folder.join(name))?,
                });
            }
        }
        if encoders.len() != if xl { 2 } else { 1 } {
            return Err(fields.wrong("text_encoder", "or text_encoder_2 is missing"));
        }
        if pixels && has(&fields.take("vae", Value::Null)?) {
            return Err(
                fields.wrong("vae", format!("is none of a {PIXELS}'s, which has no latents"))
            );
        }
        let vae = (!pixels).then(|| {
            let vae = folder.join("vae");
            let upcast = VaeConfig::read(&vae.join("config.json"))?.force_upcast;
            AutoencoderKL::read(&vae, device, if upcast { DType::F32 } else { dtype })
        });
        let scheduler = folder.join("scheduler").join("scheduler_config.json");
        let pipeline = Self {
            path: folder.into(),
            unet: unet(&folder.join("unet"))?,
            vae: vae.transpose()?,
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
        let (channels, what) = match &self.vae {
            Some(vae) => (vae.config().latent_channels, "the autoencoder has"),
            None => (3, "pixels have"),
        };
        if unet.in_channels != channels || unet.out_channels != channels {
            let (input, output) = (unet.in_channels, unet.out_channels);
            return wrong(format!(
                "its UNet takes {input} channels and gives {output}; {what} {channels}"
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

/// A new model whose weights exist, drawn one after the other.
fn drawn<M: Module>(model: M) -> M {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            param.val();
        }
    }
    model.visit(&mut Draw);
    model
}
