//! A pipeline's models, from a single file.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{DType, Device},
};
use higanbana_io::Checkpoint;
use serde_json::{Map, Value};

use super::{Pipeline, encode::TextEncoder};
use crate::{
    AutoencoderKL, CLIPTextModel, ClipConfig, ModelError, UNet2DConditionModel, UNetConfig,
    VaeConfig,
    config::Fields,
    schedulers::SchedulerConfig,
    text::{END, Tokenizer},
    weights::{self, Family, Part, table},
};

/// The configurations of a family.
#[derive(Debug, Clone)]
pub struct Published {
    /// Of the denoiser.
    pub unet: UNetConfig,
    /// Of the autoencoder.
    pub vae: VaeConfig,
    /// Of one text encoder, or SDXL's two.
    pub encoders: Vec<ClipConfig>,
    /// The scheduler that the model was published with.
    pub scheduler: SchedulerConfig,
}

impl Published {
    /// The configurations of SD 1.5, SD 2.1 for 768 pixels, or SDXL base.
    pub fn of(family: Family) -> Self {
        let text = match family {
            Family::Sd1 => include_str!("../../data/published/sd1.json"),
            Family::Sd2 => include_str!("../../data/published/sd2.json"),
            Family::Sdxl => include_str!("../../data/published/sdxl.json"),
        };
        Self::parse(text).expect("the data are right: a test reads them")
    }

    fn parse(text: &str) -> Result<Self, ModelError> {
        let path = Path::new("(built in)");
        let mut all = Fields::parse(path, text)?;
        let mut part = |name: &str| -> Result<Option<String>, ModelError> {
            let part: Option<Map<String, Value>> = all.take(name, None)?;
            Ok(part.map(|part| Value::Object(part).to_string()))
        };
        let unet = part("unet")?.unwrap_or_default();
        let vae = part("vae")?.unwrap_or_default();
        let scheduler = part("scheduler")?.unwrap_or_default();
        let encoders = ["text_encoder", "text_encoder_2"].map(part);
        let [first, second] = encoders;
        let mut encoders = Vec::new();
        for (text, projected) in [(first?, false), (second?, true)] {
            if let Some(text) = text {
                let config = ClipConfig::from_fields(Fields::parse(path, &text)?)?;
                let projection = projected.then_some(config.width);
                encoders.push(ClipConfig { projection, ..config });
            }
        }
        Ok(Self {
            unet: UNetConfig::from_fields(Fields::parse(path, &unet)?)?,
            vae: VaeConfig::from_fields(Fields::parse(path, &vae)?)?,
            encoders,
            scheduler: SchedulerConfig::parse(path, &scheduler)?,
        })
    }
}

impl Pipeline {
    /// Reads a single file (LDM, CompVis, web UIs): its family is told by its keys.
    ///
    /// A file of SD 2 does not say what it predicts; it is taken for one of velocity at 768 pixels,
    /// as diffusers does.
    ///
    /// # Errors
    /// When the file is that of another model, or a tensor is missing or does not fit.
    pub fn read_file(file: &Path, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let family = Family::of(&Checkpoint::open(file)?)?;
        let published = Published::of(family);
        let unet = UNet2DConditionModel::new(&published.unet, device);
        let vae = AutoencoderKL::new(&published.vae, device);
        let upcast = published.vae.force_upcast;
        let mut encoders = Vec::new();
        for (index, config) in published.encoders.iter().enumerate() {
            let part = [Part::TextEncoder, Part::TextEncoder2][index];
            // The encoders of OpenCLIP were trained with `!` behind the end.
            let pad = if index == 1 || family == Family::Sd2 { "!" } else { END };
            encoders.push(TextEncoder {
                tokenizer: Tokenizer::built_in(pad)?,
                model: loaded(CLIPTextModel::new(config, device), family, part, file, dtype)?,
            });
        }
        let vae_dtype = if upcast { DType::F32 } else { dtype };
        Ok(Self {
            path: file.into(),
            unet: loaded(unet, family, Part::Unet, file, dtype)?,
            vae: loaded(vae, family, Part::Vae, file, vae_dtype)?,
            encoders,
            scheduler: published.scheduler,
            zeros_for_nothing: family == Family::Sdxl,
            device: device.clone(),
            dtype,
        })
    }
}

fn loaded<M: Module>(
    model: M,
    family: Family,
    part: Part,
    file: &Path,
    dtype: DType,
) -> Result<M, ModelError> {
    let weights = family.weights(part, file, &table(&model))?;
    weights::load(model, &weights, dtype)
}
