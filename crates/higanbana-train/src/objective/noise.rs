//! The noise of a sample, drawn on the host, so that every device has the same.
//!
//! Three ways to give it a part that is the same in large areas, which plain noise hardly has, so that a
//! model learns to change the brightness of a whole image:
//!
//! * an offset: $n_{c} \mathrel{+}= o \xi_c$ with one $\xi_c \sim N(0,1)$ for each channel; $o$ may be drawn, and
//!   may grow with the mean magnitude of the channel's latents;
//! * resolutions: noise of $h/r_i^i \times w/r_i^i$ pixels, with $r_i$ between 2 and 4, enlarged
//!   bilinearly and weighted with $d^i$ is added, and the sum brought back to unit variance. kohya draws one
//!   $r_i$ and takes one variance for a batch; here each sample has its own.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::Objective;

/// Noise of several resolutions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Multires {
    /// Number of resolutions.
    pub iterations: u32,
    /// Weight of each, relative to the one before.
    pub discount: f64,
}

impl Default for Multires {
    fn default() -> Self {
        Self { iterations: 6, discount: 0.3 }
    }
}

impl Objective {
    /// The noise of one sample, `[channels, height, width]`, for its latents of the same shape.
    pub fn noise(
        &self,
        latents: &[f32],
        [channels, height, width]: [usize; 3],
        rng: &mut impl Rng,
    ) -> Vec<f32> {
        let area = height * width;
        let mut noise = normal(channels * area, rng);
        if self.noise_offset > 0.0 || self.adaptive_noise > 0.0 {
            let share = if self.noise_offset_random { rng.random::<f64>() } else { 1.0 };
            for (map, latents) in noise.chunks_mut(area).zip(latents.chunks(area)) {
                let mean = latents.iter().map(|x| f64::from(*x)).sum::<f64>() / area as f64;
                let offset = self.noise_offset * share + self.adaptive_noise * mean.abs();
                let xi: f64 = StandardNormal.sample(rng);
                map.iter_mut().for_each(|n| *n += (offset.max(0.0) * xi) as f32);
            }
        }
        if let Some(multires) = &self.multires {
            multires.add(&mut noise, [channels, height, width], rng);
        }
        noise
    }
}

impl Multires {
    fn add(&self, noise: &mut [f32], [channels, height, width]: [usize; 3], rng: &mut impl Rng) {
        for i in 0..self.iterations {
            let r: f64 = rng.random_range(2.0..4.0);
            let small =
                [height, width].map(|side| ((side as f64 / r.powi(i as i32)) as usize).max(1));
            let coarse = normal(channels * small[0] * small[1], rng);
            let weight = self.discount.powi(i as i32) as f32;
            for (map, coarse) in
                noise.chunks_mut(height * width).zip(coarse.chunks(small[0] * small[1]))
            {
                let enlarged = bilinear(coarse, small, [height, width]);
                map.iter_mut().zip(enlarged).for_each(|(n, e)| *n += weight * e);
            }
            if small.contains(&1) {
                break;
            }
        }
        let count = noise.len() as f64;
        let mean = noise.iter().map(|n| f64::from(*n)).sum::<f64>() / count;
        let squares: f64 = noise.iter().map(|n| (f64::from(*n) - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        noise.iter_mut().for_each(|n| *n = (f64::from(*n) / deviation) as f32);
    }
}

/// Numbers of mean 0 and unit variance.
pub fn normal(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| StandardNormal.sample(rng)).collect()
}

/// A map enlarged, as PyTorch's `interpolate` does with `align_corners=False`.
pub fn bilinear(map: &[f32], [h, w]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f32> {
    let place = |i: usize, old: usize, new: usize| {
        let at = ((i as f64 + 0.5) * old as f64 / new as f64 - 0.5).max(0.0);
        let low = at as usize;
        (low, (low + 1).min(old - 1), (at - low as f64) as f32)
    };
    let mut out = Vec::with_capacity(height * width);
    for y in 0..height {
        let (top, bottom, v) = place(y, h, height);
        for x in 0..width {
            let (left, right, u) = place(x, w, width);
            let row = |y: usize| map[y * w + left] * (1.0 - u) + map[y * w + right] * u;
            out.push(row(top) * (1.0 - v) + row(bottom) * v);
        }
    }
    out
}
