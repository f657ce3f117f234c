//! Images as pixels and as PNG files.

use std::{fs::File, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};

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

/// Reads a PNG as `[1, 3, h, w]` in [-1, 1]; what is transparent is ignored.
///
/// # Errors
/// When it cannot be read or is of another kind.
pub fn from_image(path: &Path, device: &Device) -> Result<Tensor<4>, ModelError> {
    let wrong = |reason: String| ModelError::Config { path: path.into(), reason };
    let file = File::open(path).map_err(|source| ModelError::Read { path: path.into(), source })?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|error| wrong(error.to_string()))?;
    let size = reader.output_buffer_size().ok_or_else(|| wrong("is too large".into()))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    let (h, w) = (info.height as usize, info.width as usize);
    let samples = info.color_type.samples();
    let channel = |pixel: &[u8], c: usize| pixel[if samples < 3 { 0 } else { c }];
    let pixels = &bytes[..info.buffer_size()];
    let values: Vec<f32> = (0..3)
        .flat_map(|c| pixels.chunks(samples).map(move |pixel| channel(pixel, c)))
        .map(|value| f32::from(value) / 127.5 - 1.0)
        .collect();
    Ok(Tensor::from_data(TensorData::new(values, [1, 3, h, w]), (device, DType::F32)))
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
