//! Convolutions of many channels: products with columns.
//!
//! With the columns $X$ `[in·kh·kw, batch·h'·w']`, the pixels under each tap for each pixel of the
//! result, the weight $W$ `[out, in·kh·kw]` as it is stored, and $G$ the gradient of the result:
//!
//! $$ Y = W X, \quad dX = W^\top G, \quad dW = G X^\top $$
//!
//! The columns of some of the pixels at a time: as many as a cache holds.

use std::ops::Range;

use burn::{
    backend::{Flex, ops::FloatTensorOps},
    tensor::{Shape, Slice, ops::ConvOptions},
};
use rayon::prelude::*;

use super::{Flexible, Plan, numbers, tensor};

/// Numbers in the columns of a tile: 8 MB.
const TILE: usize = 1 << 21;

/// A part of a row of the result: where it is in a tile, and in which sample and row.
struct Line {
    at: usize,
    sample: usize,
    y: usize,
    x: Range<usize>,
}

impl Plan {
    pub(super) fn by_columns(&self, x: Flexible, weight: Flexible) -> Flexible {
        let x = x.to_contiguous();
        let weight = Flex::float_reshape(weight, Shape::new([self.output, self.rows()]));
        let [h, w] = self.result;
        let mut y = vec![0.0; self.batch * self.output * h * w];
        for tile in self.tiles() {
            let product = Flex::float_matmul(weight.clone(), self.columns(numbers(&x), &tile));
            let product = numbers(&product);
            y.par_chunks_mut(h * w).enumerate().for_each(|(index, y)| {
                let (sample, channel) = (index / self.output, index % self.output);
                let (from, to) = overlap(&tile, sample, h * w);
                y[to].copy_from_slice(&product[channel * tile.len()..][from]);
            });
        }
        tensor(y, [self.batch, self.output, h, w])
    }

    pub(super) fn x_backward_by_columns(&self, weight: Flexible, gradient: Flexible) -> Flexible {
        let weight = Flex::float_reshape(weight, Shape::new([self.output, self.rows()]));
        let (weight, gradient) = (Flex::float_transpose(weight), self.flat(gradient));
        let [h, w] = self.map;
        let mut of_x = vec![0.0; self.batch * self.input * h * w];
        for tile in self.tiles() {
            let columns = Flex::float_matmul(weight.clone(), part(&gradient, &tile));
            self.add_columns(&mut of_x, numbers(&columns), &tile);
        }
        tensor(of_x, [self.batch, self.input, h, w])
    }

    pub(super) fn weight_backward_by_columns(&self, x: Flexible, gradient: Flexible) -> Flexible {
        let (x, gradient) = (x.to_contiguous(), self.flat(gradient));
        let products = self.tiles().map(|tile| {
            let columns = Flex::float_transpose(self.columns(numbers(&x), &tile));
            Flex::float_matmul(part(&gradient, &tile), columns)
        });
        let sum = products.reduce(Flex::float_add).expect("a convolution has a result");
        let [kh, kw] = self.kernel;
        Flex::float_reshape(sum, Shape::new([self.output, self.input, kh, kw]))
    }

    /// Rows of the columns: $in·kh·kw$.
    fn rows(&self) -> usize {
        self.input * self.taps()
    }

    /// Ranges of the pixels of the result, over all samples.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let pixels = self.batch * self.result[0] * self.result[1];
        let size = (TILE / self.rows() / 64 * 64).max(64);
        (0..pixels).step_by(size).map(move |start| start..(start + size).min(pixels))
    }

    /// `[batch, out, h', w']` to `[out, batch·h'·w']`.
    fn flat(&self, gradient: Flexible) -> Flexible {
        let pixels = self.batch * self.result[0] * self.result[1];
        let gradient = Flex::float_swap_dims(gradient, 0, 1);
        Flex::float_reshape(gradient, Shape::new([self.output, pixels])).to_contiguous()
    }

    /// The columns of a tile.
    fn columns(&self, x: &[f32], tile: &Range<usize>) -> Flexible {
        let [h, w] = self.map;
        let mut columns = vec![0.0; self.rows() * tile.len()];
        columns.par_chunks_mut(tile.len()).enumerate().for_each(|(row, columns)| {
            let (channel, tap) = (row / self.taps(), row % self.taps());
            for line in self.lines(tile) {
                let Some((y, inside, first)) = self.under(tap, &line) else { continue };
                let x = &x[((line.sample * self.input + channel) * h + y) * w..][..w];
                let columns = &mut columns[line.at..][inside];
                match self.options.stride[1] {
                    1 => columns.copy_from_slice(&x[first..][..columns.len()]),
                    stride => {
                        let x = x[first..].iter().step_by(stride);
                        columns.iter_mut().zip(x).for_each(|(column, x)| *column = *x);
                    }
                }
            }
        });
        tensor(columns, [self.rows(), tile.len()])
    }

    /// Adds what [`Self::columns`] took to where it took it from.
    fn add_columns(&self, x: &mut [f32], columns: &[f32], tile: &Range<usize>) {
        let [h, w] = self.map;
        x.par_chunks_mut(h * w).enumerate().for_each(|(index, x)| {
            let (sample, channel) = (index / self.input, index % self.input);
            for tap in 0..self.taps() {
                let columns = &columns[(channel * self.taps() + tap) * tile.len()..];
                for line in self.lines(tile).filter(|line| line.sample == sample) {
                    let Some((y, inside, first)) = self.under(tap, &line) else { continue };
                    let x = x[y * w..][..w][first..].iter_mut().step_by(self.options.stride[1]);
                    let columns = &columns[line.at..][inside];
                    x.zip(columns).for_each(|(x, column)| *x += column);
                }
            }
        });
    }

    /// The rows of the result, or parts of them, in a tile.
    fn lines(&self, tile: &Range<usize>) -> impl Iterator<Item = Line> {
        let ([h, w], tile) = (self.result, tile.clone());
        (tile.start / w..tile.end.div_ceil(w)).map(move |row| {
            let (start, end) = ((row * w).max(tile.start), ((row + 1) * w).min(tile.end));
            let x = start - row * w..end - row * w;
            Line { at: start - tile.start, sample: row / h, y: row % h, x }
        })
    }

    /// What lies under a tap along a line: the row of the map, the part of the line for which it is
    /// not padding, and the first pixel; nothing where all is padding.
    fn under(&self, tap: usize, line: &Line) -> Option<(usize, Range<usize>, usize)> {
        let ConvOptions { stride, padding, dilation, .. } = &self.options;
        let [ky, kx] = [tap / self.kernel[1], tap % self.kernel[1]];
        let y = (line.y * stride[0] + ky * dilation[0]).checked_sub(padding[0].0)?;
        if y >= self.map[0] {
            return None;
        }
        // Pixel x·stride + shift - padding, which has to be in 0..width.
        let (shift, before) = (kx * dilation[1], padding[1].0);
        let start = before.saturating_sub(shift).div_ceil(stride[1]).max(line.x.start);
        let end = (self.map[1] + before).saturating_sub(shift).div_ceil(stride[1]).min(line.x.end);
        let first = (start * stride[1] + shift).checked_sub(before)?;
        (start < end).then(|| (y, start - line.x.start..end - line.x.start, first))
    }
}

/// The part of a tile that lies in a sample of so many pixels: in the tile, and in the sample.
fn overlap(tile: &Range<usize>, sample: usize, pixels: usize) -> (Range<usize>, Range<usize>) {
    let clip = |at: usize| at.clamp(sample * pixels, (sample + 1) * pixels);
    let (start, end) = (clip(tile.start), clip(tile.end));
    if start == end {
        return (0..0, 0..0);
    }
    let first = sample * pixels;
    (start - tile.start..end - tile.start, start - first..end - first)
}

/// Columns of a matrix.
fn part(x: &Flexible, columns: &Range<usize>) -> Flexible {
    Flex::float_slice(x.clone(), &[Slice::full(), Slice::from(columns.clone())])
}
