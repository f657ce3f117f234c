//! Products of packed panels, in the registers of a CPU.

use pulp::{Arch, Simd, WithSimd};

/// What the registers hold of a result, by the kind of its vectors.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// Rows of the first factor at a time.
    pub rows: usize,
    /// Numbers in a vector.
    pub lanes: usize,
}

/// Vectors of a row in an [outer] product, with 32 registers and with 16.
pub const OUTER: [usize; 2] = [2, 3];
/// Rows of the second factor in an [inner] product.
pub const INNER: usize = 3;

impl Tile {
    pub fn new(arch: Arch) -> Self {
        struct Which;
        impl WithSimd for Which {
            type Output = Tile;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> Tile {
                Tile { rows: if many::<S>() { 8 } else { 4 }, lanes: S::F32_LANES }
            }
        }
        arch.dispatch(Which)
    }
}

/// Whether there are registers for 24 sums instead of 12.
#[inline(always)]
pub fn many<S: Simd>() -> bool {
    S::REGISTER_COUNT >= 32
}

/// $\sum_k a_{ki} b_{kj}$ for panels `a` `[k][M]` and `b` `[k][N vectors]`.
#[inline(always)]
pub fn outer<S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
) -> [[S::f32s; N]; M] {
    let (a, b) = (a.as_chunks::<M>().0, S::as_simd_f32s(b).0.as_chunks::<N>().0);
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    for (a, b) in a.iter().zip(b) {
        for i in 0..M {
            let a = simd.splat_f32s(a[i]);
            for j in 0..N {
                sums[i][j] = simd.mul_add_f32s(a, b[j], sums[i][j]);
            }
        }
    }
    sums
}

/// $\sum_k a_{ki} b_{kj}$ for panels `a` `[k / lanes][M vectors]` and `b` `[k / lanes][N vectors]`, of
/// which each vector still holds a sum for each lane.
#[inline(always)]
pub fn inner<S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
) -> [[S::f32s; N]; M] {
    let a = S::as_simd_f32s(a).0.as_chunks::<M>().0;
    let b = S::as_simd_f32s(b).0.as_chunks::<N>().0;
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    for (a, b) in a.iter().zip(b) {
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = simd.mul_add_f32s(a[i], b[j], sums[i][j]);
            }
        }
    }
    sums
}
