//! The best approximations in the Frobenius norm: by rank, and by sums of Kronecker products.

use burn::tensor::Tensor;

use super::{Budget, SpectrumError, Svd, frobenius_norm, svd};
use crate::algebra::rearrange;

/// The first `rank` terms of a decomposition: the best approximation of that rank.
///
/// Source: C. Eckart, G. Young, The approximation of one matrix by another of lower rank (1936).
///
/// # Errors
///
/// If `rank` is 0 or exceeds the number of singular values.
pub fn truncated(svd: &Svd, rank: usize) -> Result<Svd, SpectrumError> {
    let Svd { rows, cols, ref u, ref s, ref vt } = *svd;
    let max = s.len();
    if !(1..=max).contains(&rank) {
        return Err(SpectrumError::Rank { rank, max, rows, cols });
    }
    Ok(Svd {
        rows,
        cols,
        u: u.chunks_exact(max).flat_map(|row| &row[..rank]).copied().collect(),
        s: s[..rank].to_vec(),
        vt: vt[..rank * cols].to_vec(),
    })
}

/// The best product of two thin factors of equal norm within a budget.
///
/// $$A = U_r \Sigma_r^{1/2}, \qquad B = \Sigma_r^{1/2} V_r^\top$$
///
/// ```text
/// matrix [m, n]  ->  A [m, r]  B [r, n]
/// ```
///
/// # Errors
///
/// Those of [`svd`].
pub fn low_rank(matrix: &Tensor<2>, budget: Budget) -> Result<[Tensor<2>; 2], SpectrumError> {
    let svd = svd(matrix)?;
    let svd = truncated(&svd, budget.rank(&svd.s))?;
    Ok(svd.halves(&matrix.device(), matrix.dtype()))
}

/// The least Frobenius error that any approximation of `rank` can have, from all singular values.
///
/// $$\min_{\operatorname{rank} X \le r} \lVert A - X \rVert_F = \sqrt{\textstyle\sum_{i > r} \sigma_i^2}$$
pub fn truncation_error(singular_values: &[f64], rank: usize) -> f64 {
    frobenius_norm(singular_values.get(rank..).unwrap_or_default())
}

/// A sum of Kronecker products and its distance from the weight that it stands for.
#[derive(Debug, Clone)]
pub struct KronApproximation {
    /// The pairs `(w1 [p, q], w2 [c', d', K])`, the largest first, both of a pair of equal norm.
    pub terms: Vec<(Tensor<2>, Tensor<3>)>,
    /// The Frobenius norm of what they leave.
    pub error: f64,
}

/// The sum of `terms` Kronecker products that is closest to `w` in the Frobenius norm.
///
/// $$\min \Bigl\lVert W - \sum_{t=1}^{T} W_1^{(t)} \otimes W_2^{(t)} \Bigr\rVert_F$$
///
/// ```text
/// w [out, in, K]  w1 [p, q]  w2 [out/p, in/q, K]
/// ```
///
/// The rearrangement turns each product into an outer product ([`rearrange`]), so the optimum is
/// its truncated decomposition. The factors have the type and device of `w`.
///
/// Source: C. Van Loan, N. Pitsianis, Approximation with Kronecker products (1993).
///
/// # Errors
///
/// If `[p, q]` does not divide `[out, in]`, if `terms` is 0 or exceeds `min(p·q, out·in·K/(p·q))`,
/// and those of [`svd`].
pub fn nearest_kron(
    w: &Tensor<3>,
    [p, q]: [usize; 2],
    terms: usize,
) -> Result<KronApproximation, SpectrumError> {
    let [out, inp, k] = w.dims();
    if p == 0 || q == 0 || !out.is_multiple_of(p) || !inp.is_multiple_of(q) {
        return Err(SpectrumError::Indivisible { p, q, out, inp });
    }
    let full = svd(&rearrange(w.clone(), p, q))?;
    let best = truncated(&full, terms)?;
    let [w1, w2] = best.halves(&w.device(), w.dtype());
    let pair =
        |(w1, w2): (Tensor<2>, Tensor<2>)| (w1.reshape([p, q]), w2.reshape([out / p, inp / q, k]));
    Ok(KronApproximation {
        terms: w1.iter_dim(1).zip(w2.iter_dim(0)).map(pair).collect(),
        error: truncation_error(&full.s, terms),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::algebra::{
        kron,
        testing::{close, sample, tensor, values},
    };

    fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f64 {
        values((a - b).square().sum())[0].sqrt()
    }

    #[test]
    fn truncation_leaves_the_tail() {
        let matrix = sample([6, 4], 1);
        let full = svd(&matrix).unwrap();
        for rank in 1..=4 {
            let best = truncated(&full, rank).unwrap();
            assert_eq!((best.u.len(), best.s.len(), best.vt.len()), (6 * rank, rank, 4 * rank));
            let error = distance(best.matrix(&Device::default(), DType::F64), matrix.clone());
            assert!((error - truncation_error(&full.s, rank)).abs() < 1e-14, "rank {rank}");
        }
        assert_eq!(truncation_error(&[3.0, 4.0, 3.0], 1), 5.0);
        assert_eq!(truncation_error(&[4.0, 3.0], 5), 0.0);
    }

    #[test]
    fn ranks_out_of_range_are_refused() {
        let full = svd(&sample([6, 4], 2)).unwrap();
        for rank in [0, 5] {
            let message = truncated(&full, rank).unwrap_err().to_string();
            assert!(message.contains(&format!("rank {rank} is not between 1 and 4")), "{message}");
        }
    }

    #[test]
    fn nearest_kron_has_the_error_that_numpy_finds() {
        let entries: Vec<f64> = (1..=24).map(|k| f64::from(k * 7 % 11)).collect();
        let w = tensor([4, 6, 1], &entries);
        for (terms, error) in [(1, 12.755021050503055), (2, 1.2314960203704624)] {
            let nearest = nearest_kron(&w, [2, 3], terms).unwrap();
            assert!((nearest.error - error).abs() < 1e-13);
            let sum = nearest.terms.into_iter().map(|(w1, w2)| kron(w1, w2)).reduce(|a, b| a + b);
            assert!((distance(sum.unwrap(), w.clone()) - error).abs() < 1e-13);
        }
    }

    #[test]
    fn a_kronecker_product_is_recovered_with_factors_of_equal_norm() {
        let w = kron(sample([3, 2], 3), sample([2, 4, 9], 4));
        let nearest = nearest_kron(&w, [3, 2], 1).unwrap();
        assert!(nearest.error < 1e-14);
        let [(w1, w2)] = nearest.terms.try_into().unwrap();
        close(kron(w1.clone(), w2.clone()), w, 1e-14);
        let norms = [values(w1.square().sum())[0], values(w2.square().sum())[0]];
        assert!((norms[0] - norms[1]).abs() < 1e-13);
    }

    #[test]
    fn shapes_that_do_not_divide_are_refused() {
        let w = sample([4, 6, 1], 5);
        for shape in [[3, 2], [2, 4], [0, 1], [1, 0]] {
            let message = nearest_kron(&w, shape, 1).unwrap_err().to_string();
            assert!(message.contains("does not divide the 4x6 weight"), "{message}");
        }
        assert!(nearest_kron(&w, [2, 3], 5).is_err());
    }
}
