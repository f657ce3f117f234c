//! The configuration of an autoencoder, from diffusers' `config.json`.

use std::path::Path;

use serde_json::Value;

use crate::{ModelError, config::Fields};

/// What an autoencoder is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// Channels of an image.
    pub image_channels: usize,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Width of the features at each resolution, the largest first.
    pub channels: Vec<usize>,
    /// Residual blocks of the encoder at each; the decoder has one more.
    pub layers: usize,
    /// Groups of every group normalisation.
    pub norm_groups: usize,
    /// What latents are multiplied with for a UNet, so that their variance is one.
    pub scaling: f64,
    /// Whether it must not be run in half precision.
    pub force_upcast: bool,
}

impl VaeConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is another class's, or has a field or a value that is not supported.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Self::from_fields(Fields::read(path, &["AutoencoderKL"])?)
    }

    /// Takes all fields; the defaults are those of diffusers' constructor.
    ///
    /// # Errors
    /// When a field or a value is not supported.
    pub fn from_fields(mut f: Fields) -> Result<Self, ModelError> {
        f.only("act_fn", "silu")?;
        for name in ["latents_mean", "latents_std", "shift_factor"] {
            f.only(name, Value::Null)?;
        }
        for name in ["mid_block_add_attention", "use_post_quant_conv", "use_quant_conv"] {
            f.only(name, true)?;
        }
        f.ignore(&["sample_size"]);
        let channels: Vec<usize> = f.take("block_out_channels", vec![64])?;
        for (name, class) in
            [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
        {
            let types: Vec<String> = f.take(name, vec![class.into()])?;
            if types != vec![class; channels.len()] {
                let reason = format!("must be {class} for each of {} blocks", channels.len());
                return Err(f.wrong(name, reason));
            }
        }
        let config = Self {
            image_channels: f.take("in_channels", 3)?,
            latent_channels: f.take("latent_channels", 4)?,
            channels,
            layers: f.take("layers_per_block", 1)?,
            norm_groups: f.take("norm_num_groups", 32)?,
            scaling: f.take("scaling_factor", 0.18215)?,
            force_upcast: f.flag("force_upcast", true)?,
        };
        f.only("out_channels", config.image_channels)?;
        if config.channels.is_empty() {
            return Err(f.wrong("block_out_channels", "is empty"));
        }
        f.at_most("layers_per_block", config.layers)?;
        let groups = config.norm_groups;
        if config.channels.iter().any(|n| *n == 0 || groups == 0 || !n.is_multiple_of(groups)) {
            let reason = format!("is {groups}, which does not divide {:?}", config.channels);
            return Err(f.wrong("norm_num_groups", reason));
        }
        if !config.scaling.is_finite() || config.scaling == 0.0 {
            return Err(f.wrong("scaling_factor", format!("is {}", config.scaling)));
        }
        f.finish()?;
        Ok(config)
    }

    /// How many pixels a latent covers in each direction.
    pub fn factor(&self) -> usize {
        1 << (self.channels.len() - 1)
    }
}
