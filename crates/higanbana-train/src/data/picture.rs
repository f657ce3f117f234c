//! An image that can be learnt from, in its file or in a sheet.

use std::path::PathBuf;

use higanbana_diffusion::pipeline::{ImageFile, Pixels};
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
    /// Its pixels in its file, and how opaque each is where that says so.
    pub fn of(&self, file: &ImageFile) -> (Pixels, Option<Vec<u8>>) {
        let width = file.pixels.size[1];
        let alpha = file.alpha.as_ref().map(|alpha| self.part::<1>(alpha, width));
        let rgb = self.part::<3>(&file.pixels.rgb, width);
        (Pixels { size: self.size, rgb }, alpha)
    }

    /// Its part of a file whose rows have `width` pixels of `N` values.
    fn part<const N: usize>(&self, values: &[u8], width: usize) -> Vec<u8> {
        let Some([top, left]) = self.corner else { return values.to_vec() };
        let rows = values.chunks(width * N).skip(top).take(self.size[0]);
        rows.flat_map(|row| &row[left * N..][..self.size[1] * N]).copied().collect()
    }

    /// Takes note of what its file holds.
    pub(super) fn see(&mut self, file: &ImageFile) {
        let (_, alpha) = self.of(file);
        self.transparent = alpha.is_some_and(|alpha| alpha.iter().any(|it| *it < u8::MAX));
    }

    /// The images of a sheet, row by row; or why it is none. Squares behind the last caption are no images
    /// where they are blank.
    pub(super) fn cut(&self, side: usize, file: &ImageFile) -> Result<Vec<Self>, String> {
        let [height, width] = self.size;
        if side == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
            return Err(format!("is {width}x{height}, which is no sheet of squares of {side}"));
        }
        let captions: Vec<&str> = self.caption.lines().map(str::trim).collect();
        let columns = width / side;
        let count = height / side * columns;
        let square = |index: usize| {
            let corner = [index / columns * side, index % columns * side];
            let hash = Sha256::new_with_prefix(self.hash);
            let place = [corner[0], corner[1], side].map(usize::to_le_bytes);
            Self {
                corner: Some(corner),
                hash: hash.chain_update(place.concat()).finalize().into(),
                size: [side; 2],
                caption: captions.get(index).copied().unwrap_or_default().into(),
                ..self.clone()
            }
        };
        let mut squares: Vec<Self> = (0..count).map(square).collect();
        let used = captions.len();
        if used > count || squares.drain(used..).any(|square| !square.is_blank(file)) {
            return Err(format!("has {count} squares of {side}, and captions {used}"));
        }
        Ok(squares)
    }

    /// Whether it shows nothing: all of it is transparent, black or white.
    fn is_blank(&self, file: &ImageFile) -> bool {
        let (pixels, alpha) = self.of(file);
        let all = |values: &[u8], value: u8| values.iter().all(|it| *it == value);
        all(&pixels.rgb, 0) || all(&pixels.rgb, u8::MAX) || alpha.is_some_and(|it| all(&it, 0))
    }
}
