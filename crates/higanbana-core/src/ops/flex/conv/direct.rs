//! Convolutions of few channels: products of panels that are copied straight from the maps.
//!
//! A pixel $p$ of the result sees $x_{c,p,t}$ in channel $c$ under tap $t$. With
//!
//! $$ y_{o,p} = \sum_{c,t} w_{o,c,t} x_{c,p,t}, \quad dw_{o,c,t} = \sum_p g_{o,p} x_{c,p,t}, $$
//!
//! and the gradient of the map the first of these again, with the taps of a channel in reversed order
//! and the channels exchanged. Each number is summed in an order that the shapes fix, whichever thread
//! it falls to.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    field::{Field, pack},
    tile::{OUTER, Tile, many, outer},
};

/// Rows of a panel, channels times taps, at most: a panel is to fit the nearest cache.
const DEPTH: usize = 192;

/// A kernel as the rows of a product: `[out / rows][in · taps][rows]` of a tile.
pub struct Kernel {
    panels: Vec<f32>,
    tile: Tile,
    output: usize,
    input: usize,
    taps: usize,
}

impl Kernel {
    /// `number` gives the entry of an output, an input and a tap.
    pub fn new(
        arch: Arch,
        [output, input, taps]: [usize; 3],
        number: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let tile = Tile::new(arch);
        let depth = input * taps;
        let mut panels = vec![0.0; output.next_multiple_of(tile.rows) * depth];
        let each = panels.par_chunks_mut(tile.rows * depth).enumerate();
        each.for_each(|(index, panel)| {
            let first = index * tile.rows;
            for o in first..output.min(first + tile.rows) {
                let column = panel[o - first..].iter_mut().step_by(tile.rows);
                let entries = (0..input).flat_map(|c| (0..taps).map(move |t| (c, t)));
                column.zip(entries).for_each(|(to, (c, t))| *to = number(o, c, t));
            }
        });
        Self { panels, tile, output, input, taps }
    }

    /// The result for maps `[batch, in, h, w]`.
    pub fn apply(&self, arch: Arch, field: &Field, x: &[f32], batch: usize) -> Vec<f32> {
        let Self { output, tile, .. } = *self;
        let mut y = vec![0.0; batch * output * field.pixels];
        // Where samples do not keep the threads busy, panels of the kernel do.
        let parts = (2 * rayon::current_num_threads()).div_ceil(batch);
        let part = output.div_ceil(tile.rows).div_ceil(parts) * tile.rows;
        let samples = y.par_chunks_mut(output * field.pixels).zip(x.par_chunks(x.len() / batch));
        samples.for_each(|(y, maps)| {
            let parts = y.par_chunks_mut(part * field.pixels);
            let kernels = self.panels.par_chunks(part * self.input * self.taps);
            parts.zip(kernels).for_each(|(y, panels)| {
                arch.dispatch(Product { kernel: self, panels, field, maps, y });
            });
        });
        y
    }
}

/// Some rows of the result for one sample.
struct Product<'a> {
    kernel: &'a Kernel,
    panels: &'a [f32],
    field: &'a Field,
    maps: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match many::<S>() {
            true => self.run::<S, 8, { OUTER[0] }>(simd),
            false => self.run::<S, 4, { OUTER[1] }>(simd),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { kernel: &Kernel { input, taps, .. }, panels, field, maps, y } = self;
        let (depth, columns) = (input * taps, N * S::F32_LANES);
        let channels = input.div_ceil(depth.div_ceil(DEPTH));
        let size = maps.len() / input;
        let mut planes = vec![0.0; channels * field.size];
        let mut panel = vec![0.0; channels * taps * columns];
        let rows: Vec<_> = (0..channels * taps)
            .map(|row| (row / taps * field.size + field.taps[row % taps], row * columns))
            .collect();
        let run = field.run(S::F32_LANES);
        let runs = field.runs(run, field.pixels.next_multiple_of(columns)).enumerate();
        let runs: Vec<_> = runs.map(|(index, at)| (at, index * run % columns)).collect();
        for (block, maps) in maps.chunks(channels * size).enumerate() {
            for (map, plane) in maps.chunks_exact(size).zip(planes.chunks_exact_mut(field.size)) {
                field.fill(map, plane);
            }
            let first = block * channels * taps;
            let count = maps.len() / size * taps;
            for (index, runs) in runs.chunks_exact(columns / run).enumerate() {
                pack(run, &planes, &rows[..count], runs, &mut panel);
                let lines = y.chunks_mut(M * field.pixels);
                for (a, y) in panels.chunks_exact(M * depth).zip(lines) {
                    let a = &a[first * M..][..count * M];
                    let sums = outer::<S, M, N>(simd, a, &panel[..count * columns]);
                    let y = y.chunks_exact_mut(field.pixels).zip(&sums);
                    y.for_each(|(y, sums)| write(simd, y, index * columns, sums, block > 0));
                }
            }
        }
    }
}

/// Writes a row of a tile to its place, as much as fits, or adds it to what is there.
#[inline(always)]
fn write<S: Simd, const N: usize>(
    simd: S,
    y: &mut [f32],
    first: usize,
    sums: &[S::f32s; N],
    add: bool,
) {
    let y = &mut y[first..];
    let count = y.len().min(N * S::F32_LANES);
    for (y, sum) in y[..count].chunks_mut(S::F32_LANES).zip(sums) {
        let sum = if add { simd.add_f32s(simd.partial_load_f32s(y), *sum) } else { *sum };
        simd.partial_store_f32s(y, sum);
    }
}
