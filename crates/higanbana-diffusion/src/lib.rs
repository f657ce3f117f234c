//! Stable Diffusion on Burn: everything between a prompt and an image.
//!
//! The models are built from the layers of [`higanbana_adapters::layers`], so that adapters act on
//! them in both forward paths, and every module's path and struct are called as diffusers calls them,
//! so that files and presets find it. No adapter is known here by name.
//!
//! * [`unet`]: the denoiser, SD 1.x, SD 2.x and SDXL;
//! * [`vae`]: images to latents and back; [`clip`]: texts to vectors;
//! * [`schedulers`]: from noise to a sample, in steps;
//! * [`text`]: prompts to tokens;
//! * [`pipeline`]: all of it together;
//! * [`layout`]: directories and single files, from one to the other;
//! * [`weights`]: a model's tensors, from the files that hold them.

pub mod clip;
pub mod config;
mod error;
pub mod layout;
pub mod pipeline;
pub mod schedulers;
pub mod text;
pub mod unet;
pub mod vae;
pub mod weights;

pub use clip::{CLIPTextModel, ClipConfig};
pub use error::{KeyProblem, ModelError};
pub use pipeline::{Pipeline, Request};
pub use unet::{Added, UNet2DConditionModel, UNetConfig};
pub use vae::{AutoencoderKL, VaeConfig};
pub use weights::Weights;
