//! Images as WebP.

use image_webp::{ColorType, EncodingError, WebPEncoder};

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

/// Exif with a comment and nothing else: TIFF of the large-endian kind, whose one directory leads to
/// Exif's own, and that to the comment.
fn exif(comment: &str) -> Vec<u8> {
    const LONG: u16 = 4;
    const UNDEFINED: u16 = 7;
    /// Where the directories begin, each with one entry, and where the comment does.
    const DIRECTORIES: [u32; 3] = [8, 26, 44];
    let text = comment.encode_utf16().flat_map(u16::to_be_bytes);
    let text: Vec<u8> = b"UNICODE\0".iter().copied().chain(text).collect();
    let entries = [
        (0x8769u16, LONG, 1, DIRECTORIES[1]),
        (0x9286u16, UNDEFINED, text.len() as u32, DIRECTORIES[2]),
    ];
    let mut bytes = b"MM\0*".to_vec();
    bytes.extend(DIRECTORIES[0].to_be_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([0, 1]);
        bytes.extend([tag, kind].into_iter().flat_map(u16::to_be_bytes));
        bytes.extend([count, value].into_iter().flat_map(u32::to_be_bytes));
        bytes.extend([0; 4]);
    }
    bytes.extend(text);
    bytes
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
        assert_eq!(exif("lily, ü")[44..], *comment);
        assert!(webp(size, &[0; 17], "").is_err());
    }
}
