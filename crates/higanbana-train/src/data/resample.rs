//! An image in another size, as Pillow's Lanczos has it.
//!
//! Each side by itself is a weighted mean of the pixels around: with $s$ the ratio of old to new size, or 1
//! where the image grows, pixel $i$ of the new side is $\sum_j w_{ij} x_j / \sum_j w_{ij}$ where
//! $$w_{ij} = L\left(\frac{j + \frac12 - (i + \frac12) s'}{s}\right), \qquad
//! L(x) = \operatorname{sinc}(x) \operatorname{sinc}(x/3), \quad |x| < 3,$$
//! and $s'$ is the ratio itself.

use std::f64::consts::PI;

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_diffusion::pipeline::Pixels;

use super::bucket::Fit;

/// Reach of the kernel.
const REACH: f64 = 3.0;

/// The part of an image that its bucket shows, `[1, 3, h, w]` in [-1, 1].
pub fn fitted(pixels: &Pixels, fit: &Fit, mirrored: bool, device: &Device) -> Tensor<4> {
    let [height, width] = pixels.size;
    let values: Vec<f32> = pixels.rgb.iter().map(|value| f32::from(*value)).collect();
    let [w, h] = fit.bucket;
    let [across, down] = [0, 1].map(|i| weights(pixels.size[1 - i], fit, i));
    let rows = horizontal(&values, width, &across);
    let columns = horizontal(&transposed(&rows, [height, w]), height, &down);
    let mut out = vec![0f32; 3 * h * w];
    for c in 0..3 {
        for y in 0..h {
            for x in 0..w {
                let from = if mirrored { w - 1 - x } else { x };
                let at = (from * h + y) * 3 + c;
                // Images have eight bits: the rounding is part of the size.
                out[(c * h + y) * w + x] = columns[at].round().clamp(0.0, 255.0) / 127.5 - 1.0;
            }
        }
    }
    Tensor::from_data(TensorData::new(out, [1, 3, h, w]), (device, DType::F32))
}

/// Rows of pixels of three channels, in another length.
fn horizontal(values: &[f32], length: usize, weights: &[(usize, Vec<f64>)]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len() / length * weights.len());
    for row in values.chunks(length * 3) {
        for (first, weights) in weights {
            for c in 0..3 {
                let terms = weights.iter().zip(row[first * 3 + c..].iter().step_by(3));
                let sum: f64 = terms.map(|(weight, value)| weight * f64::from(*value)).sum();
                out.push(sum.clamp(0.0, 255.0) as f32);
            }
        }
    }
    out
}

/// For each pixel of the bucket along a side the first old one that it sees, and the weights from there on.
fn weights(old: usize, fit: &Fit, side: usize) -> Vec<(usize, Vec<f64>)> {
    let new = fit.scaled[side];
    let ratio = old as f64 / new as f64;
    let spread = ratio.max(1.0);
    let first = fit.corner()[side];
    let weights = (first..first + fit.bucket[side]).map(|i| {
        if old == new {
            return (i, vec![1.0]);
        }
        let centre = (i as f64 + 0.5) * ratio;
        let first = (centre - REACH * spread + 0.5).max(0.0) as usize;
        let last = ((centre + REACH * spread + 0.5) as usize).min(old);
        let at = |j: usize| lanczos((j as f64 + 0.5 - centre) / spread);
        let weights: Vec<f64> = (first..last).map(at).collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    });
    weights.collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if x.abs() < REACH { sinc(x) * sinc(x / REACH) } else { 0.0 }
}

/// Columns as rows.
fn transposed(values: &[f32], [rows, length]: [usize; 2]) -> Vec<f32> {
    let pixel = |x: usize, y: usize| &values[(y * length + x) * 3..][..3];
    (0..length).flat_map(|x| (0..rows).flat_map(move |y| pixel(x, y))).copied().collect()
}
