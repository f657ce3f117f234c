//! The Cayley transform: skew-symmetric blocks to rotations, as in OFT and BOFT.

use burn::tensor::{DType, Device, FloatDType, Tensor, s};

use super::frobenius;

/// The width up to which [`resolvent`] sums rank-one updates before it divides in two: they take
/// fewer, smaller operations than the recursion on narrow blocks, more memory traffic on wide ones.
const LEAF: usize = 16;

/// The skew-symmetric part that a free block parametrises, twice over.
///
/// $$Q = B - B^\top$$
///
/// ```text
/// b [n, b, b]  ->  [n, b, b]
/// ```
pub fn skew(b: Tensor<3>) -> Tensor<3> {
    let transposed = b.clone().swap_dims(1, 2);
    b - transposed
}

/// Shrinks all blocks together to the Frobenius norm `radius`, where they exceed it.
///
/// $$Q' = \min\left(1, \frac{\rho}{n}\right) Q, \qquad n = \lVert Q \rVert_F + 10^{-8}$$
///
/// The norm runs over all blocks (and stages) at once and is differentiated through. The radius
/// is absolute: LyCORIS's `constraint` times the output dimension.
///
/// Source: COFT (arXiv:2306.07280), in the form of LyCORIS 4.1.3.
pub fn bounded<const D: usize>(q: Tensor<D>, radius: f64) -> Tensor<D> {
    let norm = frobenius(q.clone()) + 1e-8;
    let shrink = norm.recip().mul_scalar(radius).clamp_max(1.0);
    q * shrink.reshape([1; D])
}

/// The rotation of each skew-symmetric block.
///
/// $$R = (I + Q)(I - Q)^{-1}$$
///
/// ```text
/// q [n, b, b]  ->  [n, b, b]
/// ```
///
/// Law 02: it keeps the singular values of what it turns. Source: OFT (arXiv:2306.07280). See
/// [`cayley_deviation`] for gradient and method.
pub fn cayley(q: Tensor<3>) -> Tensor<3> {
    let [_, b, _] = q.dims();
    let identity = identity(b, &q.device(), q.dtype());
    identity + cayley_deviation(q)
}

/// How far the rotation of each skew-symmetric block departs from the identity.
///
/// $$D = R - I = 2 Q N, \qquad N = (I - Q)^{-1}$$
///
/// ```text
/// q [n, b, b]  ->  [n, b, b]
/// ```
///
/// Written so, nothing cancels: `D` keeps its relative precision however small `Q` is.
///
/// An inverse `N` is computed aside from the graph and one Newton step is taken with `N` constant:
///
/// $$N' = N (2I - (I - Q) N), \qquad dN' = N dQ N$$
///
/// Its value squares the error that `N` has; its derivative is that of the exact inverse, since
/// `d(A⁻¹) = -A⁻¹ dA A⁻¹` and `dA = -dQ`. The graph thus holds three products, however the inverse
/// was found. First derivatives only: the second is not that of the transform.
pub fn cayley_deviation(q: Tensor<3>) -> Tensor<3> {
    let n = resolvent(q.clone().detach());
    let newton = n.clone().mul_scalar(2.0) - n.clone().matmul(n.clone() - q.clone().matmul(n));
    q.mul_scalar(2.0).matmul(newton)
}

/// The inverse of `I - G` for blocks whose symmetric part is not positive, as a skew one's (0).
///
/// The symmetric part of `I - G` is then at least `I`, so are those of its leading block and of
/// that block's Schur complement: every inverse exists, none exceeds norm 1, and no pivoting is
/// needed, at any size of `G`.
///
/// ```text
/// I - G = | I - G11   -G12   |     N11 = (I - G11)⁻¹    U = N11 G12    L = G21 N11
///         |  -G21    I - G22 |     N22 = (I - G22 - G21 N11 G12)⁻¹
/// ```
fn resolvent(g: Tensor<3>) -> Tensor<3> {
    let [_, b, _] = g.dims();
    if b <= LEAF {
        return resolvent_by_rows(g);
    }
    let half = b / 2;
    let g12 = g.clone().slice(s![.., ..half, half..]);
    let n11 = resolvent(g.clone().slice(s![.., ..half, ..half]));
    let upper = n11.clone().matmul(g12.clone());
    let lower = g.clone().slice(s![.., half.., ..half]).matmul(n11.clone());
    let n22 = resolvent(g.slice(s![.., half.., half..]) + lower.clone().matmul(g12));
    let n12 = upper.matmul(n22.clone());
    let n21 = n22.clone().matmul(lower.clone());
    let n11 = n11 + n12.clone().matmul(lower);
    Tensor::cat(vec![Tensor::cat(vec![n11, n12], 2), Tensor::cat(vec![n21, n22], 2)], 1)
}

/// [`resolvent`] by one Sherman-Morrison update for each row `g_k` of `G`.
///
/// $$N \leftarrow N + \frac{N e_k g_k N}{1 - g_k N e_k}$$
///
/// The denominators are the pivots of `I - G`, at least 1 by the argument above.
fn resolvent_by_rows(g: Tensor<3>) -> Tensor<3> {
    let [n, b, _] = g.dims();
    let start = identity(b, &g.device(), g.dtype()).expand([n, b, b]);
    (0..b).fold(start, |inverse, k| {
        let row = g.clone().narrow(1, k, 1).matmul(inverse.clone());
        let pivot = row.clone().narrow(2, k, 1).neg() + 1.0;
        let column = inverse.clone().narrow(2, k, 1);
        inverse + column * (row / pivot)
    })
}

/// `I` as one block `[1, b, b]`.
fn identity(b: usize, device: &Device, dtype: DType) -> Tensor<3> {
    Tensor::<2>::eye(b, device).cast(FloatDType::from(dtype)).unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::testing::{assert_gradients, close, sample, tensor, values};

    const WIDTHS: [usize; 7] = [1, 2, 3, 5, 8, 17, 64];

    fn eye(n: usize, b: usize) -> Tensor<3> {
        identity(b, &Device::default(), DType::F64).expand([n, b, b])
    }

    #[test]
    fn cayley_equals_numpy() {
        let q = tensor([1, 3, 3], &[0.0, 0.5, -1.0, -0.5, 0.0, 2.0, 1.0, -2.0, 0.0]);
        let r = tensor([1, 3, 3], &[0.6, 0.8, 0.0, 0.48, -0.36, 0.8, 0.64, -0.48, -0.6]);
        close(cayley(q), r, 1e-15);
    }

    #[test]
    fn rotations_are_orthogonal_and_solve_the_definition() {
        for b in WIDTHS {
            let q = skew(sample([3, b, b], b as u64));
            let r = cayley(q.clone());
            close(r.clone().matmul(r.clone().swap_dims(1, 2)), eye(3, b), 1e-14);
            close(r.matmul(eye(3, b) - q.clone()), eye(3, b) + q, 1e-13);
        }
    }

    #[test]
    fn large_blocks_need_no_pivoting() {
        let q = skew(sample([2, 40, 40], 1)).mul_scalar(1e4);
        let r = cayley(q);
        close(r.clone().matmul(r.swap_dims(1, 2)), eye(2, 40), 1e-9);
    }

    #[test]
    fn the_deviation_of_a_tiny_block_keeps_its_precision() {
        let q = skew(sample([2, 4, 4], 2)).mul_scalar(1e-12);
        let second_order = (q.clone() + q.clone().matmul(q.clone())).mul_scalar(2.0);
        close(cayley_deviation(q), second_order, 1e-27);
    }

    #[test]
    fn single_precision_gives_single_precision() {
        let q = skew(sample([3, 17, 17], 3));
        let r = cayley(q.clone().cast(FloatDType::F32));
        assert_eq!(r.dtype(), DType::F32);
        close(r.cast(FloatDType::F64), cayley(q), 1e-5);
    }

    #[test]
    fn gradients_are_those_of_the_exact_inverse() {
        for b in [1, 2, 3, 5, 8, 17] {
            assert_gradients(|x| cayley(skew(x)), sample([2, b, b], 10 + b as u64));
        }
    }

    #[test]
    fn bound_shrinks_only_what_exceeds_it() {
        let q = skew(sample([2, 3, 3], 4));
        let norm = values(frobenius(q.clone()))[0];
        close(bounded(q.clone(), norm * 2.0), q.clone(), 0.0);
        let expected = q.clone().mul_scalar(0.25 / (norm + 1e-8));
        close(bounded(q.clone(), 0.25), expected, 1e-16);
        assert_gradients(|x| bounded(x, 0.25), q.clone());
        assert_gradients(|x| bounded(x, norm * 2.0), q);
    }

    #[test]
    fn the_gradient_at_the_initial_zeros_is_finite() {
        assert_gradients(|x| cayley(bounded(skew(x), 0.1)), tensor([1, 3, 3], &[0.0; 9]));
    }
}
