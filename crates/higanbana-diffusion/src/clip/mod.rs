//! Texts to vectors: the text encoder of CLIP (arXiv:2103.00020), as transformers has it.

mod config;
mod embeddings;
mod model;

pub use config::{Activation, ClipConfig};
pub use model::{CLIPTextModel, Encoded};
