//! Images as WebP.

use image_webp::{ColorType, EncodingError, WebPEncoder};

use super::exif::exif;
use crate::ModelError;

/// A WebP of the pixels of an image, without loss, with a text where the web UIs keep the settings of an
/// image of this format: the Exif tag `UserComment`.
///
/// # Errors
/// When there are not as many pixels, or more than 16384 a side.
pub fn webp(
    [height, width]: [usize; 2],
    pixels: &[u8],
    parameters: &str,
) -> Result<Vec<u8>, ModelError> {
    let wrong = |error: EncodingError| ModelError::input("image", error.to_string());
    if pixels.len() != height * width * 3 {
        return Err(ModelError::input("image", format!("is not {height} times {width} pixels")));
    }
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(parameters));
    encoder.encode(pixels, width as u32, height as u32, ColorType::Rgb8).map_err(wrong)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::Pixels;

    #[test]
    fn pixels_come_back_and_the_comment_is_where_it_belongs() {
        let size = [2, 3];
        let rgb: Vec<u8> = (0..18).map(|i| i * 13).collect();
        let bytes = webp(size, &rgb, "lily, ü").unwrap();
        assert_eq!(Pixels::decode(Path::new("x"), &bytes).unwrap(), Pixels { size, rgb });
        let comment = b"UNICODE\0\0l\0i\0l\0y\0,\0 \0\xfc";
        assert!(bytes.windows(comment.len()).any(|part| part == comment));
        assert!(webp(size, &[0; 17], "").is_err());
    }
}
