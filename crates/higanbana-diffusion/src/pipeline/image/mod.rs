//! Images as pixels and in files.
//!
//! * [`file`]: what a file holds, and how many pixels it may have;
//! * [`formats`]: one decoder each; [`orientation`]: how the camera was held.

mod file;
mod formats;
mod orientation;

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
pub use file::{EXTENSIONS, ImageFile};

use crate::ModelError;

/// The pixels of each image, `[count, 3, h, w]` in [-1, 1], as rows of red, green and blue.
pub fn to_pixels(images: Tensor<4>) -> Vec<Vec<u8>> {
    let [count, channels, h, w] = images.dims();
    let unit = images.cast(DType::F32).mul_scalar(0.5).add_scalar(0.5).clamp(0.0, 1.0);
    let values: Vec<f32> = unit.permute([0, 2, 3, 1]).into_data().iter().collect();
    let pixels = values.iter().map(|value| (value * 255.0).round_ties_even() as u8);
    let pixels: Vec<u8> = pixels.collect();
    pixels.chunks(channels * h * w).take(count).map(<[u8]>::to_vec).collect()
}

/// An image of eight bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Height and width.
    pub size: [usize; 2],
    /// Rows of red, green and blue.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// Reads an image as it is seen, whatever its file says of transparency: see [`ImageFile::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Ok(ImageFile::read(path)?.pixels)
    }

    /// The same of the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`ImageFile::decode`].
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        Ok(ImageFile::decode(path, bytes)?.pixels)
    }

    /// `[1, 3, h, w]` in [-1, 1].
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let [h, w] = self.size;
        let values = (0..3).flat_map(|c| self.rgb.iter().skip(c).step_by(3));
        let values: Vec<f32> = values.map(|value| f32::from(*value) / 127.5 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, [1, 3, h, w]), (device, DType::F32))
    }
}

/// A PNG of the pixels of an image, with a text under the key `parameters`, where the web UIs keep
/// the settings of an image.
///
/// # Errors
/// When there are not as many pixels.
pub fn png(
    [height, width]: [usize; 2],
    pixels: &[u8],
    parameters: &str,
) -> Result<Vec<u8>, ModelError> {
    let wrong = |error: png::EncodingError| ModelError::input("image", error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // The plain chunk holds Latin-1 only.
    let key = "parameters".to_string();
    match parameters.chars().all(|c| (c as u32) < 256) {
        true => encoder.add_text_chunk(key, parameters.into()),
        false => encoder.add_itxt_chunk(key, parameters.into()),
    }
    .map_err(wrong)?;
    let mut writer = encoder.write_header().map_err(wrong)?;
    writer.write_image_data(pixels).map_err(wrong)?;
    writer.finish().map_err(wrong)?;
    Ok(bytes)
}
