//! Images to what the UNet sees, and back: latents, or the pixels themselves.

use burn::tensor::{DType, Tensor};

use super::Pipeline;
use crate::{
    ModelError,
    vae::{Posterior, Tiles},
};

impl Pipeline {
    /// Pixels, a side, that one value of what the UNet sees stands for.
    pub fn factor(&self) -> usize {
        self.vae.as_ref().map_or(1, |vae| vae.config().factor())
    }

    /// What latents are multiplied by for the UNet.
    pub fn scaling(&self) -> f64 {
        self.vae.as_ref().map_or(1.0, |vae| vae.config().scaling)
    }

    /// Tiles of as many pixels a side.
    ///
    /// # Errors
    /// When they are too small, or nothing is coded.
    pub(super) fn tiles(&self, pixels: usize) -> Result<Tiles, ModelError> {
        match &self.vae {
            Some(vae) => vae.tiles(pixels),
            None => Err(ModelError::input("tile", "is given, but this model has no autoencoder")),
        }
    }

    /// The latents that an image may have, not scaled, in tiles or in one piece; of a model of pixels the
    /// image itself, for sure.
    pub fn posterior(&self, image: Tensor<4>, tiles: Option<Tiles>) -> Posterior {
        let Some(vae) = &self.vae else {
            let mean = image.cast(self.dtype);
            return Posterior { logvar: mean.full_like(f64::NEG_INFINITY), mean };
        };
        let image = image.cast(if vae.config().force_upcast { DType::F32 } else { self.dtype });
        match tiles {
            Some(tiles) => vae.encode_tiled(image, tiles),
            None => vae.encode(image),
        }
    }

    /// An image as the UNet sees it: the mean of the latents that it may have, scaled.
    pub(super) fn code(&self, image: Tensor<4>, tiles: Option<Tiles>) -> Tensor<4> {
        self.posterior(image, tiles).mean.mul_scalar(self.scaling())
    }

    /// Latents to images, in tiles or in one piece.
    ///
    /// # Errors
    /// When an image is not finite.
    pub fn decode(
        &self,
        latents: Tensor<4>,
        tiles: Option<Tiles>,
    ) -> Result<Tensor<4>, ModelError> {
        let Some(vae) = &self.vae else { return Ok(latents) };
        let config = vae.config();
        let dtype = if config.force_upcast { DType::F32 } else { self.dtype };
        let latents = latents.cast(dtype).div_scalar(config.scaling);
        let images = match tiles {
            Some(tiles) => vae.decode_tiled(latents, tiles),
            None => vae.decode(latents),
        };
        match all_finite(&images) {
            true => Ok(images),
            false => Err(ModelError::input("images", "are not finite after decoding")),
        }
    }
}

pub(super) fn all_finite(x: &Tensor<4>) -> bool {
    x.clone().is_finite().all().into_scalar::<bool>()
}
