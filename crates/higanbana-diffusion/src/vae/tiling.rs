//! Large images in tiles, so that memory does not grow with them.
//!
//! As diffusers cuts them: a tile of side $s$ begins every $\tfrac34 s$, and over the quarter that two
//! results share the later one takes over evenly, $(1 - \tfrac{i}{n}) a_i + \tfrac{i}{n} b_i$. Every tile
//! has means and deviations of its own in the group normalisations, so the whole differs a little from
//! what it is in one piece.

use burn::tensor::{Tensor, TensorData};

use super::model::{AutoencoderKL, Posterior};
use crate::ModelError;

/// The size of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Side of a tile of the image, in pixels.
    pixels: usize,
    /// Side of a tile of the latent.
    latents: usize,
}

impl AutoencoderKL {
    /// Tiles of so many pixels a side.
    ///
    /// # Errors
    /// When a quarter of a tile is not a whole number of latents.
    pub fn tiles(&self, pixels: usize) -> Result<Tiles, ModelError> {
        let factor = self.config().factor();
        match pixels > 0 && pixels.is_multiple_of(4 * factor) {
            true => Ok(Tiles { pixels, latents: pixels / factor }),
            false => {
                let reason = format!("is {pixels}; give a multiple of {} pixels", 4 * factor);
                Err(ModelError::input("tile", reason))
            }
        }
    }

    /// [`Self::encode`] in tiles, if the image is larger than one.
    pub fn encode_tiled(&self, image: Tensor<4>, tiles: Tiles) -> Posterior {
        let moments = |tile| self.moments(tile);
        self.posterior(tiled(image, [tiles.pixels, tiles.latents], moments))
    }

    /// [`Self::decode`] in tiles, if the image is larger than one.
    pub fn decode_tiled(&self, latents: Tensor<4>, tiles: Tiles) -> Tensor<4> {
        tiled(latents, [tiles.latents, tiles.pixels], |tile| self.decode(tile))
    }
}

/// `f` of every tile, blended; `from` and `to` are the sides of a tile and of its result.
fn tiled(x: Tensor<4>, [from, to]: [usize; 2], f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if height <= from && width <= from {
        return f(x);
    }
    let tile = |top: usize, left: usize| {
        let part = x.clone().narrow(2, top, from.min(height - top));
        f(part.narrow(3, left, from.min(width - left)))
    };
    let starts = |length| (0..length).step_by(from / 4 * 3);
    let (shared, kept) = (to / 4, to / 4 * 3);
    let mut above: Vec<Tensor<4>> = Vec::new();
    let mut rows = Vec::new();
    for top in starts(height) {
        let mut row: Vec<Tensor<4>> = Vec::new();
        for (column, left) in starts(width).enumerate() {
            let mut y = tile(top, left);
            if let Some(upper) = above.get(column) {
                y = blended(upper, y, 2, shared);
            }
            if let Some(before) = row.last() {
                y = blended(before, y, 3, shared);
            }
            row.push(y);
        }
        let cut = row.iter().map(|y| {
            let [_, _, h, w] = y.dims();
            y.clone().narrow(2, 0, kept.min(h)).narrow(3, 0, kept.min(w))
        });
        rows.push(Tensor::cat(cut.collect(), 3));
        above = row;
    }
    Tensor::cat(rows, 2)
}

/// `b` with its first `shared` rows or columns taken over evenly from the last of `a`.
fn blended(a: &Tensor<4>, b: Tensor<4>, dim: usize, shared: usize) -> Tensor<4> {
    let (before, length) = (a.dims()[dim], b.dims()[dim]);
    let shared = shared.min(before).min(length);
    let mut shape = [1; 4];
    shape[dim] = shared;
    let weights: Vec<f32> = (0..shared).map(|i| i as f32 / shared as f32).collect();
    let weights = Tensor::<4>::from_data(TensorData::new(weights, shape), &b.device());
    let weights = weights.cast(b.dtype());
    let from = a.clone().narrow(dim, before - shared, shared);
    let onto = b.clone().narrow(dim, 0, shared);
    let mixed = from * (weights.ones_like() - weights.clone()) + onto * weights;
    match length - shared {
        0 => mixed,
        rest => Tensor::cat(vec![mixed, b.narrow(dim, shared, rest)], dim),
    }
}
