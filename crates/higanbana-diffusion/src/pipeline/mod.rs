//! From a prompt to an image.

mod adapters;
mod code;
mod conditions;
mod embeddings;
mod encode;
mod exif;
mod folder;
mod image;
mod jpeg;
mod memory;
mod noise;
mod published;
mod run;
mod save;
mod single;
mod webp;

pub use adapters::{AdapterProblem, Attached, Found, attach_file, read_file};
pub use embeddings::Learnt;
pub use encode::{Text, TextEncoder, captions};
pub use folder::{PIXELS, Pipeline};
pub use image::{EXTENSIONS, ImageFile, Pixels, png, to_pixels};
pub use jpeg::jpeg;
pub use memory::Memory;
pub use noise::Noise;
pub use published::Published;
pub(crate) use published::{ENCODERS, INDEX, SCHEDULER, UNET, VAE};
pub use run::{Generated, Progress, Request};
pub use webp::webp;
