//! Images as pixels and in files.

use std::{fs, io::Cursor, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};
use image_webp::WebPDecoder;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

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
    /// Reads a PNG, JPEG or WebP, told apart by its first bytes; what is transparent is ignored, and so
    /// is a note of how a camera was held.
    ///
    /// # Errors
    /// When it cannot be read, is damaged or of another kind.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|error| ModelError::Config {
            path: path.into(),
            reason: format!("cannot be read ({error})"),
        })?;
        Self::decode(path, &bytes)
    }

    /// The same of the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let pixels = match bytes {
            [] => Err("is empty".into()),
            [0x89, b'P', b'N', b'G', ..] => decode_png(bytes),
            [0xff, 0xd8, ..] => decode_jpeg(bytes),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => decode_webp(bytes),
            _ => Err("is no PNG, JPEG or WebP".into()),
        };
        pixels.map_err(|reason| ModelError::Config { path: path.into(), reason })
    }

    /// `[1, 3, h, w]` in [-1, 1].
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let [h, w] = self.size;
        let values = (0..3).flat_map(|c| self.rgb.iter().skip(c).step_by(3));
        let values: Vec<f32> = values.map(|value| f32::from(*value) / 127.5 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, [1, 3, h, w]), (device, DType::F32))
    }
}

fn decode_png(bytes: &[u8]) -> Result<Pixels, String> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let mut pixels = room(reader.output_buffer_size())?;
    let info = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
    pixels.truncate(info.buffer_size());
    let size = [info.height as usize, info.width as usize];
    Ok(Pixels { size, rgb: to_rgb(pixels, info.color_type.samples()) })
}

fn decode_jpeg(bytes: &[u8]) -> Result<Pixels, String> {
    let options =
        DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let rgb = decoder.decode().map_err(|error| format!("is damaged ({error})"))?;
    let info = decoder.info().ok_or("has no size")?;
    Ok(Pixels { size: [usize::from(info.height), usize::from(info.width)], rgb })
}

fn decode_webp(bytes: &[u8]) -> Result<Pixels, String> {
    let damaged = |error: image_webp::DecodingError| format!("is damaged ({error})");
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let (w, h) = decoder.dimensions();
    let mut pixels = room(decoder.output_buffer_size())?;
    decoder.read_image(&mut pixels).map_err(damaged)?;
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    Ok(Pixels { size: [h as usize, w as usize], rgb: to_rgb(pixels, samples) })
}

/// Room for as many bytes, which a few bytes of a file may ask for.
fn room(bytes: Option<usize>) -> Result<Vec<u8>, String> {
    const MOST: usize = 1 << 30;
    match bytes {
        Some(bytes) if bytes <= MOST => Ok(vec![0; bytes]),
        _ => Err("is too large".into()),
    }
}

/// Grey becomes red, green and blue; what follows them, or grey, is dropped.
fn to_rgb(pixels: Vec<u8>, samples: usize) -> Vec<u8> {
    match samples {
        3 => pixels,
        1 | 2 => pixels.chunks(samples).flat_map(|pixel| [pixel[0]; 3]).collect(),
        _ => pixels.chunks(samples).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
    }
}

/// Reads an image as `[1, 3, h, w]` in [-1, 1]; see [`Pixels::read`].
///
/// # Errors
/// As there.
pub fn from_image(path: &Path, device: &Device) -> Result<Tensor<4>, ModelError> {
    Ok(Pixels::read(path)?.tensor(device))
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
