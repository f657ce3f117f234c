//! The configurations of a model, where they are not beside its weights.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    ClipConfig, ModelError, UNetConfig, VaeConfig, config::Fields, schedulers::SchedulerConfig,
    weights::Family,
};

/// The configurations of a model: those of a published family, or of a model directory.
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

/// Where a model directory holds its configurations.
pub(crate) const UNET: &str = "unet/config.json";
pub(crate) const VAE: &str = "vae/config.json";
pub(crate) const ENCODERS: [&str; 2] = ["text_encoder/config.json", "text_encoder_2/config.json"];
pub(crate) const SCHEDULER: &str = "scheduler/scheduler_config.json";
pub(crate) const INDEX: &str = "model_index.json";

impl Published {
    /// The configurations of SD 1.5, SD 2.1 for 768 pixels, or SDXL base.
    pub fn of(family: Family) -> Self {
        let files = Self::files(family);
        let text = |name: &str| files.iter().find(|(path, _)| path == name).map(|(_, text)| text);
        Self::parse(|name| text(name).cloned()).expect("the data are right: a test reads them")
    }

    /// Those of a model directory.
    ///
    /// # Errors
    /// When one is missing or not supported.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let second = folder.join(ENCODERS[1]);
        let mut encoders = vec![ClipConfig::read(&folder.join(ENCODERS[0]))?];
        if second.exists() {
            encoders.push(ClipConfig::read(&second)?);
        }
        Ok(Self {
            unet: UNetConfig::read(&folder.join(UNET))?,
            vae: VaeConfig::read(&folder.join(VAE))?,
            encoders,
            scheduler: SchedulerConfig::read(&folder.join(SCHEDULER))?,
        })
    }

    /// Those of a single file's models: of its family, or of a model directory.
    ///
    /// # Errors
    /// As [`Self::read`], and when the directory has more or fewer text encoders.
    pub fn of_file(family: Family, config: Option<&Path>) -> Result<Self, ModelError> {
        let Some(folder) = config else { return Ok(Self::of(family)) };
        let published = Self::read(folder)?;
        match (published.encoders.len(), family.encoders().len()) {
            (there, needed) if there == needed => Ok(published),
            (there, needed) => {
                let reason = format!("has {there} text encoders, the file {needed}");
                Err(ModelError::Config { path: folder.into(), reason })
            }
        }
    }

    /// The configuration files of a family's model directory: path and text.
    pub(crate) fn files(family: Family) -> Vec<(String, String)> {
        let text = match family {
            Family::Sd1 => include_str!("../../data/published/sd1.json"),
            Family::Sd2 => include_str!("../../data/published/sd2.json"),
            Family::Sdxl => include_str!("../../data/published/sdxl.json"),
        };
        let files: Map<String, Value> = serde_json::from_str(text).expect("a test reads them");
        files.into_iter().map(|(path, file)| (path, format!("{file:#}\n"))).collect()
    }

    fn parse(text: impl Fn(&str) -> Option<String>) -> Result<Self, ModelError> {
        let path = Path::new("(built in)");
        let fields = |name: &str| Fields::parse(path, &text(name).unwrap_or_default());
        let second = text(ENCODERS[1]).map(|text| Fields::parse(path, &text));
        let encoders = [Some(fields(ENCODERS[0])), second].into_iter().flatten();
        Ok(Self {
            unet: UNetConfig::from_fields(fields(UNET)?)?,
            vae: VaeConfig::from_fields(fields(VAE)?)?,
            encoders: encoders
                .map(|encoder| ClipConfig::from_fields(encoder?))
                .collect::<Result<_, _>>()?,
            scheduler: SchedulerConfig::parse(path, &text(SCHEDULER).unwrap_or_default())?,
        })
    }
}
