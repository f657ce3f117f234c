//! The denoiser of Stable Diffusion: diffusers' `UNet2DConditionModel`.
//!
//! Ronneberger, Fischer, Brox, *U-Net* (arXiv:1505.04597), with residual blocks that know the time
//! (arXiv:2006.11239) and transformers that attend to a text (arXiv:2112.10752).
//!
//! ```text
//!           sample [batch, 4, h, w]                                       out [batch, 4, h, w]
//!               │ conv_in                                                       ▲ conv_out
//!   t ──► emb   ▼                                                               │
//!         │   down_blocks.0 ───────────────── skips ──────────────────► up_blocks.last
//!         │     ▼ half the size                                                 ▲ twice the size
//!         ├─► down_blocks.1 ────────────────────────────────────────► up_blocks.last-1
//!         │     ▼                                                               ▲
//!         └─►  ...  ────────────────► mid_block ──────────────────────────────► ...
//!  text ───────► every Transformer2DModel
//! ```
//!
//! One file for each part, the inner ones first: [`time`], [`resnet`], [`attention`],
//! [`transformer`], [`blocks`], [`model`].

pub mod attention;
pub mod blocks;
mod config;
pub mod model;
pub mod resnet;
pub mod time;
pub mod transformer;

pub use config::{Level, TextTime, UNetConfig};
pub use model::{Added, UNet2DConditionModel};
