//! The least memory that work needs, told from configurations before a weight is read.
//!
//! All of these are bounds from below: tensors that are certain to be held at one moment, and no
//! intermediate ones of the operations between. In bytes, with $b$ bytes a number, $n$ samples at once,
//! $s_l$ positions at the UNet's resolution $l$ of $c_l$ channels, and $P$ pixels of an image:
//!
//! ```text
//! weights     Σ b·parameters              each model in the type that it computes in
//! step        b·n·Σ_l s_l·c_l·(layers_l + 1)    what the UNet's way down leaves for its way up
//! image       b·n·P·(2 c_1 + c_0)         the decoder's last residual block with a change of width: what it is
//!                                         given, that normalised, and what it gives; c of the autoencoder
//! pixels      2·4·3·n·P                   the images, and as bytes are made of them
//! graph       b·n·Σ_l s_l·c_l·(4 R_l + 8 T_l)   what the backward pass needs of R residual and T transformer
//!                                         blocks; where they are computed again, R + T
//! ```

use std::path::Path;

use burn::tensor::DType;
use higanbana_core::device::cpu;
use higanbana_io::Checkpoint;

use super::{ENCODERS, Published, Request, UNET, VAE};
use crate::{
    AutoencoderKL, CLIPTextModel, ClipConfig, ModelError, UNet2DConditionModel, UNetConfig,
    VaeConfig,
    weights::{Family, parameter_count},
};

/// What a model comes to, by its configurations.
#[derive(Debug, Clone)]
pub struct Memory {
    unet: UNetConfig,
    vae: Option<VaeConfig>,
    /// Parameters of the UNet and the text encoders, and of the autoencoder.
    parameters: [usize; 2],
}

impl Memory {
    /// That of a model directory or a single file; of that with the configurations of the directory
    /// `config`, where there is one.
    ///
    /// # Errors
    /// When a configuration cannot be read.
    pub fn read(model: &Path, config: Option<&Path>) -> Result<Self, ModelError> {
        if model.is_file() {
            let family = Family::of(&Checkpoint::open(model)?)?;
            let Published { unet, vae, encoders, .. } = Published::of_file(family, config)?;
            return Ok(Self::of(unet, Some(vae), &encoders));
        }
        let there = |name: &str| model.join(name).exists();
        let encoders =
            ENCODERS.iter().filter(|it| there(it)).map(|it| ClipConfig::read(&model.join(it)));
        let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
        let vae = Some(VAE)
            .filter(|it| there(it))
            .map(|it| VaeConfig::read(&model.join(it)))
            .transpose()?;
        Ok(Self::of(UNetConfig::read(&model.join(UNET))?, vae, &encoders))
    }

    fn of(unet: UNetConfig, vae: Option<VaeConfig>, encoders: &[ClipConfig]) -> Self {
        let device = cpu();
        let encoders = encoders.iter().map(|it| parameter_count(&CLIPTextModel::new(it, &device)));
        let models =
            parameter_count(&UNet2DConditionModel::new(&unet, &device)) + encoders.sum::<usize>();
        let coder = vae.iter().map(|it| parameter_count(&AutoencoderKL::new(it, &device))).sum();
        Self { unet, vae, parameters: [models, coder] }
    }

    /// Bytes of the weights.
    pub fn weights(&self, dtype: DType) -> f64 {
        let [models, coder] = self.parameters.map(|count| count as f64);
        models * dtype.size() as f64 + coder * self.coder_bytes(dtype)
    }

    /// Parameters of the UNet and the text encoders.
    pub fn parameters(&self) -> usize {
        self.parameters[0]
    }

    /// Bytes of a generation: the weights, and the step or the image, whichever is more.
    ///
    /// # Errors
    /// When images of that size cannot be made.
    pub fn generation(&self, request: &Request, dtype: DType) -> Result<f64, ModelError> {
        let [height, width] = request.size_with(self.unet.sample_size, self.factor())?;
        let (count, bytes) = (request.images() as f64, dtype.size() as f64);
        let guided = request.guidance > 1.0 && self.unet.guidance_width.is_none();
        let samples = if guided { 2.0 * count } else { count };
        let side = |pixels: usize| (pixels / self.factor()) as f64;
        let kept = self
            .levels()
            .map(|(scale, level)| scale * (level.channels * (level.layers + 1)) as f64);
        let step = bytes * samples * side(height) * side(width) * kept.sum::<f64>();
        let whole = [height, width].map(|side| side as f64);
        let pixels = whole[0] * whole[1];
        let tile = request
            .tile
            .map_or(pixels, |tile| whole.map(|side| side.min(tile as f64)).iter().product());
        let last = self
            .vae
            .as_ref()
            .map_or(0, |vae| 2 * vae.channels.get(1).unwrap_or(&vae.channels[0]) + vae.channels[0]);
        let image = self.coder_bytes(dtype) * count * tile * last as f64;
        Ok(self.weights(dtype) + step.max(image).max(2.0 * 4.0 * 3.0 * count * pixels))
    }

    /// Bytes of what the backward pass needs of the UNet, for so many samples of this height and width in
    /// pixels.
    pub fn graph(&self, samples: usize, size: [usize; 2], dtype: DType, again: bool) -> f64 {
        let [kept, kept_of_transformers] = if again { [1, 1] } else { [4, 8] };
        let maps = self.levels().map(|(scale, level)| {
            let down = if level.down_attends { level.layers } else { 0 };
            let up = if level.up_attends { level.layers + 1 } else { 0 };
            let residuals = kept * (2 * level.layers + 1);
            let transformers = kept_of_transformers * (down + up) * level.depth;
            scale * (level.channels * (residuals + transformers)) as f64
        });
        let [h, w] = size.map(|side| (side / self.factor()) as f64);
        dtype.size() as f64 * samples as f64 * h * w * maps.sum::<f64>()
    }

    /// The resolutions, each with its share of the positions of the largest.
    fn levels(&self) -> impl Iterator<Item = (f64, &crate::unet::Level)> {
        self.unet.levels.iter().zip(0..).map(|(level, depth)| (0.25f64.powi(depth), level))
    }

    fn coder_bytes(&self, dtype: DType) -> f64 {
        let upcast = self.vae.as_ref().is_some_and(|vae| vae.force_upcast);
        (if upcast { DType::F32 } else { dtype }).size() as f64
    }

    fn factor(&self) -> usize {
        self.vae.as_ref().map_or(1, VaeConfig::factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by hand for SD 1.5 in single precision.
    #[test]
    fn a_bound_from_published_configurations() {
        let Published { unet, vae, encoders, .. } = Published::of(Family::Sd1);
        let memory = Memory::of(unet, Some(vae), &encoders);
        // UNet, text encoder and autoencoder, as diffusers and transformers count them.
        assert_eq!(memory.parameters, [859_520_964 + 123_060_480, 83_653_863]);
        let weights = 4.0 * 1_066_235_307.0;
        let at = |side, tile| {
            let request = Request { size: Some([side; 2]), tile, ..Request::default() };
            memory.generation(&request, DType::F32).unwrap() - weights
        };
        // 512 + 128 channels of 512 by 512 pixels.
        assert_eq!(at(512, None), 4.0 * 640.0 * 512.0 * 512.0);
        assert_eq!(at(8192, None), 256.0 * at(512, None));
        // In tiles it is the UNet that holds most: 3·(320 + 640/4 + 1280/16 + 1280/64) channels of two.
        assert_eq!(at(8192, Some(512)), 2.0 * 4.0 * 1024.0 * 1024.0 * 3.0 * 580.0);
    }

    #[test]
    fn a_graph_that_is_computed_again_is_smaller() {
        let Published { unet, vae, encoders, .. } = Published::of(Family::Sd1);
        let memory = Memory::of(unet, Some(vae), &encoders);
        let [whole, again] =
            [false, true].map(|again| memory.graph(1, [512, 512], DType::F32, again));
        // Residual blocks: 5 at each level; transformers: 5 at the first three.
        let positions =
            [(4096.0, 320.0, 5.0), (1024.0, 640.0, 5.0), (256.0, 1280.0, 5.0), (64.0, 1280.0, 0.0)];
        let of = |kept: f64, kept_of_transformers: f64| -> f64 {
            let each =
                positions.iter().map(|(s, c, t)| s * c * (5.0 * kept + t * kept_of_transformers));
            4.0 * each.sum::<f64>()
        };
        assert_eq!(whole, of(4.0, 8.0));
        assert_eq!(again, of(1.0, 1.0));
    }
}
