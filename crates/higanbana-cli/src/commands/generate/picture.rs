//! Images in files, in the format that their name tells.

use std::path::Path;

use anyhow::Result;
use higanbana_diffusion::pipeline::{jpeg, png, webp};

use crate::output;

/// A format of images that is written.
#[derive(Clone, Copy)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
}

impl Format {
    /// The format of a name; a PNG if it has no ending.
    ///
    /// # Errors
    /// When that is another one.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match &*ending {
            "" | "png" => Ok(Self::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            _ => Err(output::usage(format!(
                "--output: {}: images are written as .png, .jpg or, without loss, .webp",
                path.display()
            ))),
        }
    }

    /// The bytes of a file of pixels, with the settings that they were made with.
    ///
    /// # Errors
    /// When the format does not hold as many pixels.
    pub fn bytes(self, size: [usize; 2], pixels: &[u8], settings: &str) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Png => png(size, pixels, settings)?,
            Self::Jpeg => jpeg(size, pixels, settings)?,
            Self::WebP => webp(size, pixels, settings)?,
        })
    }
}
