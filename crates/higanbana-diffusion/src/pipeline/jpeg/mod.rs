//! Images as JPEG: baseline, with the colours in full resolution (4:4:4), at the quality 95 of libjpeg.
//!
//! Red, green and blue become $Y$, $C_b$ and $C_r$ as JFIF has it. Of each block $f$ of 8 by 8 samples, shifted
//! by 128, the cosine transform is taken and rounded in steps $q$:
//!
//! $$ F = D f D^\top, \qquad D_{ux} = \tfrac{c_u}{2} \cos\frac{(2x+1) u \pi}{16}, \quad
//! c_0 = \tfrac{1}{\sqrt 2},\ c_{u>0} = 1, \qquad Q_{uv} = \mathrm{round}(F_{uv} / q_{uv}). $$
//!
//! $D$ is orthogonal: the root mean square of the errors of a block is at most half of that of its steps, 3.4 for
//! brightness and 4.6 for the colours, and less wherever numbers are small. The numbers of a block go in the order
//! of a zigzag, as codes of Huffman's; tables and steps are those of Annex K of ITU-T T.81, the steps scaled as
//! libjpeg scales them.
//!
//! The encoders that there are ask for the licence of the Independent JPEG Group, or for features that compile
//! Burn anew.

mod huffman;
mod tables;

use std::{f64::consts::PI, sync::LazyLock};

use self::{
    huffman::{Bits, Codes},
    tables::{CHROMINANCE, LUMINANCE, Table, ZIGZAG},
};
use super::exif::{BEFORE, exif};
use crate::ModelError;

/// Samples of a block a side.
const SIDE: usize = 8;

/// One component of an image, as blocks need it.
type Block = [[f64; SIDE]; SIDE];

/// A JPEG of the pixels of an image, with a text where the web UIs keep the settings of an image of this format:
/// the Exif tag `UserComment`, of which the format takes 32,737 characters.
///
/// # Errors
/// When there are not as many pixels, or none, or more than 65535 a side.
pub fn jpeg(
    size @ [height, width]: [usize; 2],
    pixels: &[u8],
    parameters: &str,
) -> Result<Vec<u8>, ModelError> {
    if pixels.len() != height * width * 3 || pixels.is_empty() {
        return Err(ModelError::input("image", format!("is not {height} times {width} pixels")));
    }
    let [Ok(h), Ok(w)] = size.map(u16::try_from) else {
        let reason = format!("is {width}x{height}; a JPEG has 65535 pixels a side at most");
        return Err(ModelError::input("image", reason));
    };
    let mut bytes = vec![0xff, 0xd8];
    segment(&mut bytes, 0xe1, &[b"Exif\0\0", &*exif(&parameters_that_fit(parameters))].concat());
    let tables = [&LUMINANCE, &CHROMINANCE];
    for (number, table) in (0u8..).zip(tables) {
        let steps = ZIGZAG.map(|at| table.steps()[at]);
        segment(&mut bytes, 0xdb, &[&[number], &steps[..]].concat());
    }
    let [[h0, h1], [w0, w1]] = [h, w].map(u16::to_be_bytes);
    // Eight bits, and three components, each with one sample a pixel and the number of its steps.
    let frame = [8, h0, h1, w0, w1, 3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1];
    segment(&mut bytes, 0xc0, &frame);
    for (number, table) in (0u8..).zip(tables) {
        for (class, [lengths, values]) in [(0, table.dc), (0x10, table.ac)] {
            segment(&mut bytes, 0xc4, &[&[class | number], lengths, values].concat());
        }
    }
    segment(&mut bytes, 0xda, &[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
    scan(size, pixels, &mut bytes);
    bytes.extend([0xff, 0xd9]);
    Ok(bytes)
}

/// As much of a text as a segment takes beside what stands in front of it.
fn parameters_that_fit(text: &str) -> String {
    let room = (usize::from(u16::MAX) - 2 - b"Exif\0\0".len() - BEFORE) / 2;
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units <= room
    };
    text.chars().take_while(fits).collect()
}

/// A marker, the length of what follows, itself included, and that.
fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    bytes.extend([0xff, marker]);
    bytes.extend((content.len() as u16 + 2).to_be_bytes());
    bytes.extend(content);
}

/// The blocks of all components in turns, row by row.
fn scan([height, width]: [usize; 2], pixels: &[u8], bytes: &mut Vec<u8>) {
    let mut bits = Bits::new(bytes);
    let components = [&LUMINANCE, &CHROMINANCE, &CHROMINANCE].map(Component::of);
    let mut before = [0; 3];
    for top in (0..height).step_by(SIDE) {
        for left in (0..width).step_by(SIDE) {
            // Beyond the edge the last pixel is repeated.
            let pixel = |y: usize, x: usize| {
                let at = (top + y).min(height - 1) * width + (left + x).min(width - 1);
                [0, 1, 2].map(|i| f64::from(pixels[at * 3 + i]))
            };
            for (index, component) in components.iter().enumerate() {
                let mut samples: Block = [[0.0; SIDE]; SIDE];
                for (y, row) in samples.iter_mut().enumerate() {
                    for (x, sample) in row.iter_mut().enumerate() {
                        *sample = weigh(WEIGHTS[index], pixel(y, x)) - LEVELS[index];
                    }
                }
                component.write(&transform(&samples), &mut before[index], &mut bits);
            }
        }
    }
    bits.end();
}

/// Of red, green and blue in $Y$, $C_b$ and $C_r$.
const WEIGHTS: [[f64; 3]; 3] =
    [[0.299, 0.587, 0.114], [-0.168_736, -0.331_264, 0.5], [0.5, -0.418_688, -0.081_312]];
/// What is taken off; the colours are shifted up first, by as much.
const LEVELS: [f64; 3] = [128.0, 0.0, 0.0];

fn weigh(weights: [f64; 3], rgb: [f64; 3]) -> f64 {
    weights.iter().zip(rgb).map(|(weight, value)| weight * value).sum()
}

/// $D$.
static COSINES: LazyLock<Block> = LazyLock::new(|| {
    let cosine = |u: usize, x: usize| {
        let scale = if u == 0 { 0.125f64.sqrt() } else { 0.5 };
        scale * (((2 * x + 1) * u) as f64 * PI / 16.0).cos()
    };
    std::array::from_fn(|u| std::array::from_fn(|x| cosine(u, x)))
});

/// $D f D^\top$.
fn transform(samples: &Block) -> Block {
    let rows = |block: &Block| -> Block {
        std::array::from_fn(|u| {
            std::array::from_fn(|y| COSINES[u].iter().zip(&block[y]).map(|(d, f)| d * f).sum())
        })
    };
    // Each pass transforms rows and transposes.
    rows(&rows(samples))
}

/// How the numbers of a component are written.
struct Component {
    steps: [u8; SIDE * SIDE],
    dc: Codes,
    ac: Codes,
}

impl Component {
    fn of(table: &Table) -> Self {
        Self { steps: table.steps(), dc: Codes::of(table.dc), ac: Codes::of(table.ac) }
    }

    /// The first number as its difference from that of the block before; the others each with the number of
    /// zeros in front of it, those at the end as one code.
    fn write(&self, block: &Block, before: &mut i32, bits: &mut Bits) {
        /// Sixteen zeros.
        const ZEROS: u8 = 0xf0;
        /// Nothing but zeros.
        const END: u8 = 0;
        let numbers = ZIGZAG
            .map(|at| (block[at / SIDE][at % SIDE] / f64::from(self.steps[at])).round() as i32);
        let difference = numbers[0] - *before;
        *before = numbers[0];
        bits.code(&self.dc, huffman::length(difference));
        bits.number(difference);
        let mut zeros = 0u8;
        for number in &numbers[1..] {
            if *number == 0 {
                zeros += 1;
                continue;
            }
            for _ in 0..zeros / 16 {
                bits.code(&self.ac, ZEROS);
            }
            bits.code(&self.ac, ((zeros % 16) << 4) | huffman::length(*number));
            bits.number(*number);
            zeros = 0;
        }
        if zeros > 0 {
            bits.code(&self.ac, END);
        }
    }
}

#[cfg(test)]
mod tests;
