//! An image that can be learnt from, in its file or in a sheet.

use std::path::PathBuf;

use higanbana_diffusion::{
    ModelError,
    pipeline::{ImageFile, Pixels},
};
use sha2::{Digest, Sha256};

/// An image that can be learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// Top and left of the image in its file, where that is a sheet.
    pub corner: Option<[usize; 2]>,
    /// SHA-256 of its bytes, and of its place in a sheet.
    pub hash: [u8; 32],
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Its caption, of which a sample's [text](super::Captions::text) is made.
    pub caption: String,
    /// Whether a part of it is not opaque.
    pub transparent: bool,
    /// Which concept it belongs to.
    pub concept: usize,
    /// How often it counts in an epoch.
    pub repeats: usize,
}

impl Picture {
    /// Its pixels, and how opaque each is where its file says so.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn read(&self) -> Result<(Pixels, Option<Vec<u8>>), ModelError> {
        let ImageFile { pixels, alpha, .. } = ImageFile::read(&self.path)?;
        let alpha = alpha.map(|alpha| self.part::<1>(alpha, pixels.size[1]));
        let rgb = self.part::<3>(pixels.rgb, pixels.size[1]);
        Ok((Pixels { size: self.size, rgb }, alpha))
    }

    /// Its part of a file whose rows have `width` pixels of `N` values.
    fn part<const N: usize>(&self, values: Vec<u8>, width: usize) -> Vec<u8> {
        let Some([top, left]) = self.corner else { return values };
        let rows = values.chunks(width * N).skip(top).take(self.size[0]);
        rows.flat_map(|row| &row[left * N..][..self.size[1] * N]).copied().collect()
    }

    /// Takes note of what its file holds.
    pub(super) fn see(&mut self, file: &ImageFile) {
        let alpha = file.alpha.clone().map(|alpha| self.part::<1>(alpha, file.pixels.size[1]));
        self.transparent = alpha.is_some_and(|alpha| alpha.iter().any(|it| *it < u8::MAX));
    }

    /// The images of a sheet, row by row; or why it is none.
    pub(super) fn cut(&self, side: usize) -> Result<Vec<Self>, String> {
        let [height, width] = self.size;
        if side == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
            return Err(format!("is {width}x{height}, which is no sheet of squares of {side}"));
        }
        let captions: Vec<&str> = self.caption.lines().map(str::trim).collect();
        let columns = width / side;
        let count = height / side * columns;
        if captions.len() != count {
            return Err(format!("has {count} squares of {side}, and captions {}", captions.len()));
        }
        let picture = |(index, caption): (usize, &str)| {
            let corner = [index / columns * side, index % columns * side];
            let hash = Sha256::new_with_prefix(self.hash);
            let place = [corner[0], corner[1], side].map(usize::to_le_bytes);
            Self {
                corner: Some(corner),
                hash: hash.chain_update(place.concat()).finalize().into(),
                size: [side; 2],
                caption: caption.into(),
                ..self.clone()
            }
        };
        Ok(captions.into_iter().enumerate().map(picture).collect())
    }
}
