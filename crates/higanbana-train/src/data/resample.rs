//! An image in another size: Pillow 13's Lanczos, to the byte.
//!
//! Each side by itself is a weighted mean of the pixels around: with $s$ the ratio of old to new size, or 1
//! where the image grows, pixel $i$ of the new side is $\sum_j w_{ij} x_j / \sum_j w_{ij}$ where
//! $$w_{ij} = L\left(\frac{j + \frac12 - (i + \frac12) s'}{s}\right), \qquad
//! L(x) = \operatorname{sinc}(x) \operatorname{sinc}(x/3), \quad -3 \le x < 3,$$
//! and $s'$ is the ratio itself. Weights have 22 binary places, and each pass rounds to eight bits. Rows are
//! first, but for images that lose more than twice as many rows as columns: those change their height first,
//! as Pillow does since version 13.

use std::f64::consts::PI;

use burn::tensor::{Device, Tensor};
use higanbana_diffusion::pipeline::Pixels;

use super::bucket::View;

/// Reach of the kernel.
const REACH: f64 = 3.0;
/// Binary places of a weight.
const PLACES: u32 = 22;

/// What a view shows of an image, `[1, 3, h, w]` in [-1, 1].
pub fn fitted(pixels: &Pixels, view: &View, device: &Device) -> Tensor<4> {
    let [width, height] = view.fit.bucket;
    let rgb = resized::<3>(&pixels.rgb, pixels.size, view);
    Pixels { size: [height, width], rgb }.tensor(device)
}

/// What a view shows of an image of this height and width, `N` values a pixel: rows of the bucket's size.
pub fn resized<const N: usize>(values: &[u8], size: [usize; 2], view: &View) -> Vec<u8> {
    let [height, width] = size;
    let (across, down) = (weights(width, view, 0), weights(height, view, 1));
    let lost = [0, 1].map(|side| size[1 - side] as i64 - view.fit.scaled[side] as i64);
    let mut shown = if lost[1] > 0 && lost[1] > 2 * lost[0] {
        let rows = vertical(values, width * N, &down);
        horizontal::<N>(&rows, width, &across)
    } else {
        // The rows that are seen: of a strip the others would be many times as many.
        let first = down.iter().map(|taps| taps.first).min().unwrap_or(0);
        let end = down.iter().map(Taps::end).max().unwrap_or(0);
        let rows = horizontal::<N>(&values[first * width * N..end * width * N], width, &across);
        let down = down.into_iter().map(|taps| Taps { first: taps.first - first, ..taps });
        vertical(&rows, across.len() * N, &down.collect::<Vec<_>>())
    };
    if view.mirrored {
        shown.chunks_mut(across.len() * N).for_each(mirror::<N>);
    }
    shown
}

/// The old pixels of which a new one is made, along a side.
struct Taps {
    /// The first of them.
    first: usize,
    /// The weight of each, times $2^{22}$.
    weights: Vec<i32>,
}

impl Taps {
    /// The pixel after the last.
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// Rows of pixels of `N` values, in another length.
fn horizontal<const N: usize>(values: &[u8], length: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() / length * taps.len());
    for row in values.chunks(length * N) {
        for taps in taps {
            let seen = &row[taps.first * N..taps.end() * N];
            for c in 0..N {
                let terms = taps.weights.iter().zip(seen[c..].iter().step_by(N));
                out.push(rounded(terms.map(|(weight, value)| weight * i32::from(*value)).sum()));
            }
        }
    }
    out
}

/// Another number of rows of `length` values.
fn vertical(values: &[u8], length: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(length * taps.len());
    for taps in taps {
        let mut sums = vec![0; length];
        let rows = values[taps.first * length..taps.end() * length].chunks(length);
        for (weight, row) in taps.weights.iter().zip(rows) {
            let terms = sums.iter_mut().zip(row);
            terms.for_each(|(sum, value)| *sum += weight * i32::from(*value));
        }
        out.extend(sums.into_iter().map(rounded));
    }
    out
}

fn rounded(sum: i32) -> u8 {
    ((sum + (1 << (PLACES - 1))) >> PLACES).clamp(0, 255) as u8
}

/// For each pixel of the bucket along a side the old ones that it sees.
fn weights(old: usize, view: &View, side: usize) -> Vec<Taps> {
    let new = view.fit.scaled[side];
    let ratio = old as f64 / new as f64;
    let spread = ratio.max(1.0);
    let first = view.corner[side];
    let taps = (first..first + view.fit.bucket[side]).map(|i| {
        if old == new {
            return Taps { first: i, weights: vec![1 << PLACES] };
        }
        let centre = (i as f64 + 0.5) * ratio;
        let first = (centre - REACH * spread + 0.5).max(0.0) as usize;
        let last = ((centre + REACH * spread + 0.5) as usize).min(old);
        let at = |j: usize| lanczos((j as f64 - centre + 0.5) * (1.0 / spread));
        let weights: Vec<f64> = (first..last).map(at).collect();
        let sum: f64 = weights.iter().sum();
        let places = |weight: f64| (weight / sum * f64::from(1 << PLACES)).round() as i32;
        Taps { first, weights: weights.into_iter().map(places).collect() }
    });
    taps.collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if (-REACH..REACH).contains(&x) { sinc(x) * sinc(x / REACH) } else { 0.0 }
}

/// A row from its other end.
fn mirror<const N: usize>(row: &mut [u8]) {
    row.reverse();
    row.chunks_mut(N).for_each(<[u8]>::reverse);
}
