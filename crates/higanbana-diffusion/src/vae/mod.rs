//! Images to latents and back: diffusers' `AutoencoderKL` (arXiv:2112.10752).
//!
//! The same net serves SD 1, SD 2 and SDXL, with other weights. A latent is an eighth of the image in
//! height and width. Images are in [-1, 1].

mod attention;
mod coder;
mod config;
mod model;
mod tiling;

pub use coder::{Decoder, Encoder};
pub use config::VaeConfig;
pub use model::{AutoencoderKL, Posterior};
pub use tiling::Tiles;
