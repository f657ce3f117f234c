//! The autoencoder as a whole.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use higanbana_adapters::layers::Conv2d;

use super::{
    coder::{Decoder, Encoder},
    config::VaeConfig,
};
use crate::{ModelError, Weights, unet::resnet::conv1x1, weights};

/// The latents that an image may have: a normal distribution.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Its mean, `[batch, latent, h, w]`.
    pub mean: Tensor<4>,
    /// The logarithm of its variance, between -30 and 20; minus infinity where there is but one.
    pub logvar: Tensor<4>,
}

impl Posterior {
    /// $\mu + \sigma n$ for noise of unit variance.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.logvar.clone().mul_scalar(0.5).exp() * noise
    }
}

/// Images to latents and back. Latents here are not scaled: a UNet's are
/// [`VaeConfig::scaling`] times as large.
#[derive(Module, Debug)]
pub struct AutoencoderKL {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Conv2d,
    post_quant_conv: Conv2d,
    #[module(skip)]
    config: VaeConfig,
}

impl AutoencoderKL {
    /// A model with random weights, none of which exists before it is used.
    pub fn new(config: &VaeConfig, device: &Device) -> Self {
        let latent = config.latent_channels;
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quant_conv: conv1x1(2 * latent, 2 * latent, device),
            post_quant_conv: conv1x1(latent, latent, device),
            config: config.clone(),
        }
    }

    /// Reads a folder with `config.json` and weights, as diffusers saves it.
    ///
    /// # Errors
    /// When the configuration is not supported, or the weights are not those that it describes.
    pub fn read(folder: &Path, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let config = VaeConfig::read(&folder.join("config.json"))?;
        weights::load(Self::new(&config, device), &Self::weights(folder)?, dtype)
    }

    /// The weights of a folder.
    pub(crate) fn weights(folder: &Path) -> Result<Weights, ModelError> {
        Weights::folder(folder)?.renamed(since_renamed)
    }

    /// What it is made of.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// `[batch, 3, h, w]` in [-1, 1] to latents `[batch, 4, h/8, w/8]`, rounded down.
    pub fn encode(&self, image: Tensor<4>) -> Posterior {
        self.posterior(self.moments(image))
    }

    /// What the encoder makes of an image: mean and logarithm of the variance, side by side.
    pub(super) fn moments(&self, image: Tensor<4>) -> Tensor<4> {
        self.quant_conv.forward(self.encoder.forward(image))
    }

    pub(super) fn posterior(&self, moments: Tensor<4>) -> Posterior {
        let latent = self.config.latent_channels;
        Posterior {
            mean: moments.clone().narrow(1, 0, latent),
            logvar: moments.narrow(1, latent, latent).clamp(-30.0, 20.0),
        }
    }

    /// `[batch, 4, h, w]` to images `[batch, 3, 8h, 8w]`, about in [-1, 1].
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(self.post_quant_conv.forward(latents))
    }
}

/// Names of attention in files of the first years.
fn since_renamed(key: &str) -> String {
    const RENAMED: [(&str, &str); 4] =
        [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];
    let old = RENAMED.iter().find_map(|(old, new)| {
        let (path, field) = key.rsplit_once('.')?;
        let attention = path.strip_suffix(old)?.strip_suffix('.')?;
        attention.ends_with("attentions.0").then(|| format!("{attention}.{new}.{field}"))
    });
    old.unwrap_or_else(|| key.into())
}

#[cfg(test)]
mod tests {
    use super::since_renamed;

    #[test]
    fn old_names_of_attention() {
        let old = "decoder.mid_block.attentions.0.proj_attn.bias";
        assert_eq!(since_renamed(old), "decoder.mid_block.attentions.0.to_out.0.bias");
        let old = "encoder.mid_block.attentions.0.key.weight";
        assert_eq!(since_renamed(old), "encoder.mid_block.attentions.0.to_k.weight");
        assert_eq!(since_renamed("encoder.conv_in.weight"), "encoder.conv_in.weight");
    }
}
