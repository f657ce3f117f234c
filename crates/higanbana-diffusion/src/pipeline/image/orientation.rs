//! How a camera was held: EXIF's orientation (tag 0x0112), and an image turned so that it stands upright.

/// An orientation other than the one in which an image is stored upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Whether rows become columns, before either side is turned about.
    transposed: bool,
    /// Whether the rows, and the pixels within them, are stored from their other end.
    reversed: [bool; 2],
}

impl Orientation {
    /// That of a number from 2 to 8; 1, and what EXIF does not know, leaves an image as it is.
    pub fn of(number: usize) -> Option<Self> {
        let reversed = match number {
            5 => [false, false],
            2 | 8 => [false, true],
            3 | 7 => [true, true],
            4 | 6 => [true, false],
            _ => return None,
        };
        Some(Self { transposed: number >= 5, reversed })
    }

    /// That of an EXIF block: a TIFF directory, after the mark `Exif` in some files.
    pub fn of_exif(exif: &[u8]) -> Option<Self> {
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        let little = match exif.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let number = |at: usize, length: usize| {
            let bytes = exif.get(at..at + length)?.iter().map(|byte| usize::from(*byte));
            let joined = |sum: usize, byte: usize| sum << 8 | byte;
            Some(if little { bytes.rev().fold(0, joined) } else { bytes.fold(0, joined) })
        };
        const TAG: usize = 0x0112;
        const LONG: usize = 4;
        let directory = number(4, 4)?;
        let mut entries = (0..number(directory, 2)?).map(|entry| directory + 2 + 12 * entry);
        let entry = entries.find(|entry| number(*entry, 2) == Some(TAG))?;
        let length = if number(entry + 2, 2)? == LONG { 4 } else { 2 };
        Self::of(number(entry + 8, length)?)
    }

    /// Height and width of an image of this height and width, once it is turned.
    pub fn size(self, [height, width]: [usize; 2]) -> [usize; 2] {
        if self.transposed { [width, height] } else { [height, width] }
    }
}

/// Pixels of `N` values, turned so that the image stands upright.
pub(super) fn turned<const N: usize>(
    stored: &[u8],
    size: [usize; 2],
    orientation: Orientation,
) -> Vec<u8> {
    let [height, width] = orientation.size(size);
    let mut out = Vec::with_capacity(stored.len());
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let place = if orientation.transposed { [x, y] } else { [y, x] };
        let [row, column] = [0, 1].map(|i| match orientation.reversed[i] {
            true => size[i] - 1 - place[i],
            false => place[i],
        });
        out.extend_from_slice(&stored[(row * size[1] + column) * N..][..N]);
    }
    out
}
