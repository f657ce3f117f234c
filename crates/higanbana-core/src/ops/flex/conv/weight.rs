//! The gradient of a kernel of few channels; see [`direct`](super::direct).

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    field::{Field, pack},
    tile::{INNER, Tile, inner, many},
};

/// Pixels at a time, and vectors of them: so seldom are lanes added up, and so long are sums of a lane.
const PIXELS: usize = 1024;
const VECTORS: usize = 128;
/// Rows of the second panel, channels times taps, at most.
const DEPTH: usize = 72;

/// Sizes of what the gradient is taken of.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub output: usize,
    pub input: usize,
    pub taps: usize,
}

impl Sizes {
    /// The gradient of the kernel `[out, in · taps]` from maps `[batch, in, h, w]` and the gradient of the
    /// result, `[batch, out, h', w']`.
    pub fn gradient(self, arch: Arch, field: &Field, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { output, input, taps, .. } = self;
        let panels = self.panels(Tile::new(arch), field.pixels, gradient);
        // Channels of a thread at a time.
        let channels = input.div_ceil(2 * rayon::current_num_threads());
        let channels = channels.clamp(1, (DEPTH / taps).max(1));
        let blocks = (0..input).into_par_iter().step_by(channels).map(|first| {
            let count = channels.min(input - first);
            arch.dispatch(Block { sizes: self, panels: &panels, field, x, first, count })
        });
        let blocks: Vec<Vec<f32>> = blocks.collect();
        let mut sums = Vec::with_capacity(output * input * taps);
        for o in 0..output {
            for block in &blocks {
                let row = block.len() / output;
                sums.extend_from_slice(&block[o * row..][..row]);
            }
        }
        sums
    }

    /// The gradient of the result as `[out / rows][vectors of all samples][rows]` of a tile, with zeros for
    /// what there is not.
    fn panels(self, tile: Tile, pixels: usize, gradient: &[f32]) -> Vec<f32> {
        let Self { batch, output, .. } = self;
        let vectors = pixels.div_ceil(tile.lanes);
        let panel = batch * vectors * tile.rows * tile.lanes;
        let mut panels = vec![0.0; output.div_ceil(tile.rows) * panel];
        panels.par_chunks_mut(panel).enumerate().for_each(|(index, panel)| {
            let first = index * tile.rows;
            let samples = panel.chunks_exact_mut(vectors * tile.rows * tile.lanes);
            for (panel, maps) in samples.zip(gradient.chunks_exact(output * pixels)) {
                for o in first..output.min(first + tile.rows) {
                    let vectors = maps[o * pixels..][..pixels].chunks(tile.lanes);
                    let places = panel.chunks_exact_mut(tile.rows * tile.lanes);
                    for (vector, place) in vectors.zip(places) {
                        place[(o - first) * tile.lanes..][..vector.len()].copy_from_slice(vector);
                    }
                }
            }
        });
        panels
    }
}

/// Some channels of the input: `[out, channels · taps]`.
struct Block<'a> {
    sizes: Sizes,
    panels: &'a [f32],
    field: &'a Field,
    x: &'a [f32],
    first: usize,
    count: usize,
}

impl WithSimd for Block<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        match many::<S>() {
            true => self.run::<S, 8>(simd),
            false => self.run::<S, 4>(simd),
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize>(self, simd: S) -> Vec<f32> {
        let Sizes { batch, output, taps, .. } = self.sizes;
        let (lanes, depth) = (S::F32_LANES, self.count * taps);
        let vectors = batch * self.field.pixels.div_ceil(lanes);
        let most = (PIXELS / lanes).min(VECTORS).min(vectors);
        let mut planes = vec![0.0; self.count * self.field.size];
        let mut panel = vec![0.0; depth.next_multiple_of(INNER) * most * lanes];
        let mut sums = vec![0.0; output * depth];
        for first in (0..vectors).step_by(most) {
            let block = first..(first + most).min(vectors);
            self.gather(lanes, &block, &mut planes, &mut panel);
            let panel = &panel[..depth.next_multiple_of(INNER) * block.len() * lanes];
            let groups = panel.chunks_exact(INNER * block.len() * lanes);
            for (index, a) in self.panels.chunks_exact(M * vectors * lanes).enumerate() {
                let a = &a[first * M * lanes..][..block.len() * M * lanes];
                for (group, b) in groups.clone().enumerate() {
                    let found = inner::<S, M, INNER>(simd, a, b);
                    let rows = index * M..output.min((index + 1) * M);
                    for (o, found) in rows.zip(&found) {
                        let sums = &mut sums[o * depth..][..depth][group * INNER..];
                        for (sum, found) in sums.iter_mut().zip(found) {
                            *sum += simd.reduce_sum_f32s(*found);
                        }
                    }
                }
            }
        }
        sums
    }

    /// Writes what a block of the vectors of all samples sees, as
    /// `[channels · taps / INNER][vectors][INNER]`.
    #[inline(always)]
    fn gather(&self, lanes: usize, block: &Range<usize>, planes: &mut [f32], panel: &mut [f32]) {
        let Self { sizes: Sizes { batch, input, taps, .. }, field, x, first, count, .. } = *self;
        let (size, vectors) = (x.len() / (batch * input), field.pixels.div_ceil(lanes));
        let run = field.run(lanes);
        let runs: Vec<_> = field.runs(run, vectors * lanes).collect();
        for sample in block.start / vectors..block.end.div_ceil(vectors) {
            let maps = &x[(sample * input + first) * size..][..count * size];
            let filled = maps.chunks_exact(size).zip(planes.chunks_exact_mut(field.size));
            filled.for_each(|(map, plane)| field.fill(map, plane));
            // Vectors of this sample that are in the block: from which on, and where they go.
            let inside = block.start.max(sample * vectors)..block.end.min((sample + 1) * vectors);
            let (start, to) = (inside.start - sample * vectors, inside.start - block.start);
            let rows = (0..count * taps).map(|row| {
                let place = (row / INNER * block.len() + to) * INNER + row % INNER;
                (row / taps * field.size + field.taps[row % taps], place * lanes)
            });
            let runs = runs[start * (lanes / run)..][..inside.len() * (lanes / run)].iter();
            let runs = runs.enumerate().map(|(index, at)| {
                let pixel = index * run;
                (*at, pixel / lanes * INNER * lanes + pixel % lanes)
            });
            let (rows, runs): (Vec<_>, Vec<_>) = (rows.collect(), runs.collect());
            pack(run, planes, &rows, &runs, panel);
        }
    }
}
