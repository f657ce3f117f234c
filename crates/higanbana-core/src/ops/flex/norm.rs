//! Group normalisation and SiLU.

use burn::backend::TensorMetadata;
use rayon::prelude::*;

use super::{
    Flexible,
    math::{sigmoid, sum, wide},
    numbers, tensor,
};

/// The mean of a group and $1 / \sqrt{\sigma^2 + \epsilon}$.
#[inline(always)]
fn moments(x: &[f32], epsilon: f64) -> (f32, f32) {
    let mean = sum(x, x, |x, _| x) / x.len() as f64;
    let centre = mean as f32;
    let square = sum(x, x, |x, _| (x - centre) * (x - centre)) / x.len() as f64;
    // The mean is off its rounded value, which the squares were taken around.
    let variance = square - (mean - f64::from(centre)).powi(2);
    (centre, (variance.max(0.0) + epsilon).sqrt().recip() as f32)
}

/// Channels of a group, and entries of a channel.
fn sizes(x: &Flexible, groups: usize) -> [usize; 2] {
    let shape = x.shape();
    [shape[1] / groups, shape[2..].iter().product()]
}

pub fn forward(inputs: [Flexible; 3], groups: usize, epsilon: f64, silu: bool) -> Flexible {
    let [x, gamma, beta] = inputs.map(|input| input.to_contiguous());
    let [channels, size] = sizes(&x, groups);
    let (gamma, beta) = (numbers(&gamma), numbers(&beta));
    let mut y = vec![0.0; x.shape().num_elements()];
    let rows = y.par_chunks_mut(channels * size).zip(numbers(&x).par_chunks(channels * size));
    rows.enumerate().for_each(|(row, (y, x))| {
        let first = row % groups * channels;
        wide!(|| {
            let (mean, scale) = moments(x, epsilon);
            for (i, (y, x)) in y.chunks_exact_mut(size).zip(x.chunks_exact(size)).enumerate() {
                let (gamma, beta) = (gamma[first + i] * scale, beta[first + i]);
                for (y, x) in y.iter_mut().zip(x) {
                    let u = (x - mean) * gamma + beta;
                    *y = if silu { u * sigmoid(u) } else { u };
                }
            }
        })
    });
    tensor(y, x.shape())
}

/// The formulas of the composed backward pass.
pub fn backward(
    inputs: [Flexible; 3],
    gradient: Flexible,
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> (Flexible, Flexible, Flexible) {
    let [x, gamma, beta] = inputs.map(|input| input.to_contiguous());
    let gradient = gradient.to_contiguous();
    let [channels, size] = sizes(&x, groups);
    let (shape, row) = (x.shape(), channels * size);
    let (gammas, betas) = (numbers(&gamma), numbers(&beta));
    let mut of_x = vec![0.0; shape.num_elements()];
    // Of each sample's channels: the gradients of gamma and beta.
    let mut parts = vec![[0f64; 2]; shape[0] * shape[1]];
    let rows = of_x
        .par_chunks_mut(row)
        .zip(parts.par_chunks_mut(channels))
        .zip(numbers(&x).par_chunks(row))
        .zip(numbers(&gradient).par_chunks(row));
    rows.enumerate().for_each(|(row, (((of_x, parts), x), dy))| {
        let first = row % groups * channels;
        wide!(|| {
            let (mean, scale) = moments(x, epsilon);
            let (mut shift, mut product) = (0f64, 0f64);
            for (i, part) in parts.iter_mut().enumerate() {
                let channel = i * size..(i + 1) * size;
                let (gamma, beta) = (gammas[first + i], betas[first + i]);
                let (x, of_u) = (&x[channel.clone()], &mut of_x[channel.clone()]);
                for ((of_u, x), dy) in of_u.iter_mut().zip(x).zip(&dy[channel]) {
                    let u = (x - mean) * (gamma * scale) + beta;
                    let s = sigmoid(u);
                    *of_u = if silu { dy * s * (1.0 + u * (1.0 - s)) } else { *dy };
                }
                let of_gamma = sum(of_u, x, |of_u, x| of_u * (x - mean)) * f64::from(scale);
                let of_beta = sum(of_u, of_u, |of_u, _| of_u);
                *part = [of_gamma, of_beta];
                product += f64::from(gamma) * of_gamma;
                shift += f64::from(gamma) * of_beta;
            }
            let count = x.len() as f64;
            let (shift, product) = ((shift / count) as f32, (product / count) as f32);
            for (i, (of_x, x)) in of_x.chunks_exact_mut(size).zip(x.chunks_exact(size)).enumerate()
            {
                let gamma = gammas[first + i];
                for (of_x, x) in of_x.iter_mut().zip(x) {
                    let normed = (x - mean) * scale;
                    *of_x = scale * (gamma * *of_x - shift - normed * product);
                }
            }
        })
    });
    let vector = |index: usize| {
        let mut sums = vec![0f64; shape[1]];
        for sample in parts.chunks(shape[1]) {
            sums.iter_mut().zip(sample).for_each(|(sum, part)| *sum += part[index]);
        }
        tensor(sums.into_iter().map(|sum| sum as f32).collect(), [shape[1]])
    };
    (tensor(of_x, shape.clone()), vector(0), vector(1))
}
