//! A stretch of a singular value decomposition, as the start of an adapter.

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_core::{AdapterError, Parts, Site, Tensors, parts::to_data, spectrum::Svd};
use serde::{Deserialize, Serialize};

/// Which of the singular values, in descending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stretch {
    /// The largest.
    Principal,
    /// Those around the middle.
    Middle,
    /// The smallest.
    Last,
}

/// Neighbouring singular values with their vectors.
///
/// ```text
/// p [out, r]  lambda [1, r]  q [r, in·K]
/// ```
#[derive(Debug, Clone)]
pub struct SingularFactors {
    /// Left singular vectors, as columns.
    pub p: Tensor<2>,
    /// Singular values.
    pub lambda: Tensor<2>,
    /// Right singular vectors, as rows.
    pub q: Tensor<2>,
}

impl SingularFactors {
    /// `r` singular values of a decomposition. Those beyond the smaller side of the matrix are
    /// 10⁻⁶, with vectors of zeros.
    pub fn of(svd: &Svd, stretch: Stretch, r: usize, device: &Device, dtype: DType) -> Self {
        let (rows, cols, k) = (svd.rows, svd.cols, svd.s.len());
        let first = match stretch {
            Stretch::Principal => 0,
            Stretch::Middle => k.saturating_sub(r) / 2,
            Stretch::Last => k.saturating_sub(r),
        };
        let chosen = first..first + r;
        let u =
            |row: usize| chosen.clone().map(move |i| if i < k { svd.u[row * k + i] } else { 0.0 });
        let vt = |i: usize| (0..cols).map(move |j| if i < k { svd.vt[i * cols + j] } else { 0.0 });
        let s = |i: usize| svd.s.get(i).copied().unwrap_or(1e-6);
        let tensor = |values: Vec<f64>, shape: [usize; 2]| {
            Tensor::from_data(TensorData::new(values, shape), (device, dtype))
        };
        Self {
            p: tensor((0..rows).flat_map(u).collect(), [rows, r]),
            lambda: tensor(chosen.clone().map(s).collect(), [1, r]),
            q: tensor(chosen.clone().flat_map(vt).collect(), [r, cols]),
        }
    }

    /// The first `r`, untracked.
    pub fn leading(&self, r: usize) -> Self {
        let cut = |x: &Tensor<2>, dim| x.clone().narrow(dim, 0, r).detach();
        Self { p: cut(&self.p, 1), lambda: cut(&self.lambda, 1), q: cut(&self.q, 0) }
    }

    /// The tensors of a file, trained or (with `base_`) frozen.
    pub fn write(&self, site: &Site, prefix: &str) -> Tensors {
        let r = self.lambda.dims()[1];
        let (p, q) = (site.pointwise_shape(site.out(), r), site.kernel_shape(r, site.input()));
        Tensors::from([
            (format!("{prefix}p_layer.weight"), to_data(&self.p, p)),
            (format!("{prefix}lambda_layer"), to_data(&self.lambda, [1, r])),
            (format!("{prefix}q_layer.weight"), to_data(&self.q, q)),
        ])
    }

    /// Those of a file, trained or (with `base_`) frozen.
    ///
    /// # Errors
    /// When one is missing or does not fit.
    pub fn read(site: &Site, parts: &Parts, prefix: &str, r: usize) -> Result<Self, AdapterError> {
        let key = |stem: &str| format!("{prefix}{stem}");
        let kernel = site.kernel_shape(r, site.input());
        Ok(Self {
            p: parts.tensor(&key("p_layer.weight"), [site.out(), r])?,
            lambda: parts.tensor(&key("lambda_layer"), [1, r])?,
            q: parts.unfolded(&key("q_layer.weight"), &kernel, [r, site.cols()])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(stretch: Stretch, r: usize) -> [Vec<f64>; 3] {
        // diag(4, 3, 2, 1): the vectors are unit vectors.
        let unit: Vec<f64> = (0..16).map(|i| f64::from(i % 5 == 0)).collect();
        let s = vec![4.0, 3.0, 2.0, 1.0];
        let svd = Svd { rows: 4, cols: 4, u: unit.clone(), s, vt: unit };
        let factors = SingularFactors::of(&svd, stretch, r, &Device::default(), DType::F64);
        let values = |x: Tensor<2>| x.try_into_vec_as().unwrap();
        [values(factors.lambda), values(factors.p), values(factors.q)]
    }

    #[test]
    fn stretches_are_neighbouring_values_with_their_vectors() {
        assert_eq!(factors(Stretch::Principal, 2)[0], [4.0, 3.0]);
        assert_eq!(factors(Stretch::Last, 3)[0], [3.0, 2.0, 1.0]);
        let [lambda, p, q] = factors(Stretch::Middle, 2);
        assert_eq!(lambda, [3.0, 2.0]);
        assert_eq!(p, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(q, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn values_that_the_matrix_does_not_have_are_padding() {
        for stretch in [Stretch::Principal, Stretch::Middle, Stretch::Last] {
            let [lambda, p, q] = factors(stretch, 5);
            assert_eq!(lambda, [4.0, 3.0, 2.0, 1.0, 1e-6]);
            assert_eq!((p[4], p[5], p[6]), (0.0, 0.0, 1.0));
            assert_eq!(q[16..], [0.0; 4]);
        }
    }
}
