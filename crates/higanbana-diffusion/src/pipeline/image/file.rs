//! What the file of an image holds.

use std::{fs, path::Path};

use super::{
    Pixels, formats,
    orientation::{Orientation, turned},
};
use crate::ModelError;

/// Extensions of the files that can be read, in small letters.
pub const EXTENSIONS: [&str; 10] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "gif", "tif", "tiff"];

/// As many pixels as Pillow reads at most: a few bytes of a file may ask for any number.
const MOST_PIXELS: usize = 178_956_970;

/// What the file of an image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// The image as it is seen: turned as its EXIF orientation says.
    pub pixels: Pixels,
    /// How opaque each pixel is, from 0 to 255, where the file says so.
    pub alpha: Option<Vec<u8>>,
    /// Whether its EXIF orientation turned or mirrored it.
    pub turned: bool,
}

/// What a decoder gives: rows from the top of what is stored.
pub(super) struct Stored {
    /// Height and width.
    pub size: [usize; 2],
    /// Samples of a pixel: grey, grey and alpha, colours, colours and alpha.
    pub samples: usize,
    pub values: Vec<u8>,
    pub orientation: Option<Orientation>,
}

impl ImageFile {
    /// Reads a PNG, JPEG, WebP, BMP, GIF or TIFF, told apart by its first bytes; of several frames or
    /// pages the first.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, of another kind, or has more pixels than 178,956,970, as many
    /// as Pillow reads.
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
        let stored = match bytes {
            [] => Err("is empty".into()),
            [0x89, b'P', b'N', b'G', ..] => formats::png(bytes),
            [0xff, 0xd8, ..] => formats::jpeg(bytes),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                formats::webp(bytes)
            }
            [b'B', b'M', ..] => formats::bmp(bytes),
            [b'G', b'I', b'F', b'8', ..] => formats::gif(bytes),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => formats::tiff(bytes),
            _ => Err("is no PNG, JPEG, WebP, BMP, GIF or TIFF".into()),
        };
        let wrong = |reason| ModelError::Config { path: path.into(), reason };
        Ok(Self::of(stored.map_err(wrong)?))
    }

    fn of(stored: Stored) -> Self {
        let Stored { size, samples, values, orientation } = stored;
        let alpha = match samples {
            2 | 4 => Some(values.iter().skip(samples - 1).step_by(samples).copied().collect()),
            _ => None,
        };
        let rgb = match samples {
            3 => values,
            1 | 2 => values.chunks(samples).flat_map(|pixel| [pixel[0]; 3]).collect(),
            _ => values.chunks(samples).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        };
        let Some(orientation) = orientation else {
            return Self { pixels: Pixels { size, rgb }, alpha, turned: false };
        };
        let alpha = alpha.map(|alpha: Vec<u8>| turned::<1>(&alpha, size, orientation));
        let rgb = turned::<3>(&rgb, size, orientation);
        let pixels = Pixels { size: orientation.size(size), rgb };
        Self { pixels, alpha, turned: true }
    }
}

/// That an image of this size may be read; decoders ask before they take memory for it.
pub(super) fn bounded(height: usize, width: usize) -> Result<[usize; 2], String> {
    match height.checked_mul(width) {
        Some(0) => Err(format!("is {width}x{height}, which is no image")),
        Some(pixels) if pixels <= MOST_PIXELS => Ok([height, width]),
        _ => Err(format!(
            "is {width}x{height}, more than the {MOST_PIXELS} pixels that are read; make it smaller"
        )),
    }
}
