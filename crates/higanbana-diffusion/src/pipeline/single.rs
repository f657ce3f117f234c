//! A pipeline's models, from a single file.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{DType, Device},
};
use higanbana_io::Checkpoint;

use super::{Pipeline, Published, encode::TextEncoder};
use crate::{
    AutoencoderKL, CLIPTextModel, ModelError, UNet2DConditionModel,
    text::Tokenizer,
    weights::{self, Family, Part, table},
};

impl Pipeline {
    /// Reads a single file (LDM, CompVis, web UIs): its family is told by its keys.
    ///
    /// A file holds no configurations: they are those of the published model, or of the directory
    /// `config`. A file of SD 2 does not say what it predicts; without a directory it is taken for one
    /// of velocity at 768 pixels, as diffusers does.
    ///
    /// # Errors
    /// When the file is that of another model, or a tensor is missing or does not fit.
    pub fn read_file(
        file: &Path,
        config: Option<&Path>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ModelError> {
        let family = Family::of(&Checkpoint::open(file)?)?;
        let published = Published::of_file(family, config)?;
        let unet = UNet2DConditionModel::new(&published.unet, device);
        let vae = AutoencoderKL::new(&published.vae, device);
        let upcast = published.vae.force_upcast;
        let mut encoders = Vec::new();
        for (part, encoder) in family.encoders().iter().zip(&published.encoders) {
            let tokenizer = match config.map(|folder| folder.join(part.tokenizer())) {
                Some(folder) if folder.exists() => Tokenizer::read(&folder)?,
                _ => Tokenizer::built_in(family.padding(*part))?,
            };
            let model = CLIPTextModel::new(encoder, device);
            let model = loaded(model, family, *part, file, dtype)?;
            encoders.push(TextEncoder { tokenizer, model });
        }
        let vae_dtype = if upcast { DType::F32 } else { dtype };
        let pipeline = Self {
            path: file.into(),
            unet: loaded(unet, family, Part::Unet, file, dtype)?,
            vae: Some(loaded(vae, family, Part::Vae, file, vae_dtype)?),
            encoders,
            scheduler: published.scheduler,
            revises_scheduler: family != Family::Sdxl,
            zeros_for_nothing: family == Family::Sdxl,
            device: device.clone(),
            dtype,
        };
        pipeline.check()?;
        Ok(pipeline)
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
