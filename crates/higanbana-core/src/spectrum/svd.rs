//! The thin singular value decomposition.

use burn::tensor::{DType, Device, Tensor, TensorData};
use faer::ColRef;

use super::{
    SpectrumError,
    host::{HostMatrix, factors, values},
    jacobi::Factors,
};

/// A thin singular value decomposition, in `f64` on the host.
///
/// $$A = U \operatorname{diag}(\sigma) V^\top, \qquad \sigma_1 \ge \sigma_2 \ge \dots \ge 0$$
///
/// The sign of each pair of vectors is fixed: the entry of `u`'s column that is largest in
/// magnitude (the first of equals) is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Svd {
    /// Rows of the matrix, `m`.
    pub rows: usize,
    /// Columns of the matrix, `n`.
    pub cols: usize,
    /// `U`, row-major `[m, k]`.
    pub u: Vec<f64>,
    /// The singular values in descending order, `[k]`.
    pub s: Vec<f64>,
    /// `V` transposed, row-major `[k, n]`.
    pub vt: Vec<f64>,
}

impl Svd {
    /// `U` as a tensor `[m, k]`.
    pub fn u_tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        tensor(&self.u, [self.rows, self.s.len()], device, dtype)
    }

    /// The singular values as a tensor `[k]`.
    pub fn s_tensor(&self, device: &Device, dtype: DType) -> Tensor<1> {
        tensor(&self.s, [self.s.len()], device, dtype)
    }

    /// `V` transposed as a tensor `[k, n]`.
    pub fn vt_tensor(&self, device: &Device, dtype: DType) -> Tensor<2> {
        tensor(&self.vt, [self.s.len(), self.cols], device, dtype)
    }

    /// `U diag(√σ)` `[m, k]` and `diag(√σ) Vᵀ` `[k, n]`: two factors of equal norm.
    pub fn halves(&self, device: &Device, dtype: DType) -> [Tensor<2>; 2] {
        let root = self.s_tensor(device, dtype).sqrt();
        [
            self.u_tensor(device, dtype) * root.clone().unsqueeze(),
            self.vt_tensor(device, dtype) * root.unsqueeze_dim(1),
        ]
    }

    /// The matrix `U diag(σ) Vᵀ`, `[m, n]`, multiplied on the device.
    pub fn matrix(&self, device: &Device, dtype: DType) -> Tensor<2> {
        let scaled = self.u_tensor(device, dtype) * self.s_tensor(device, dtype).unsqueeze();
        scaled.matmul(self.vt_tensor(device, dtype))
    }
}

/// Decomposes a matrix of any float type, wide or tall.
///
/// ```text
/// matrix [m, n]  ->  u [m, k]  s [k]  vt [k, n]    k = min(m, n)
/// ```
///
/// # Errors
///
/// On an entry that is not finite, on an iteration that does not converge, and where the tensor
/// cannot be read.
pub fn svd(matrix: &Tensor<2>) -> Result<Svd, SpectrumError> {
    let host = HostMatrix::read(matrix)?;
    let Factors { u, s, v } = &factors(host.view())?;
    let signs: Vec<f64> = u.col_iter().map(|column| largest_entry(column).signum()).collect();
    let row = |i| signs.iter().enumerate().map(move |(j, sign)| sign * u[(i, j)]);
    let column = |(j, sign)| v.col(j).iter().map(move |entry| sign * entry);
    Ok(Svd {
        rows: host.rows,
        cols: host.cols,
        u: (0..host.rows).flat_map(row).collect(),
        s: s.clone(),
        vt: signs.iter().enumerate().flat_map(column).collect(),
    })
}

/// The singular values alone, in descending order, several times faster than [`svd`].
///
/// # Errors
///
/// Those of [`svd`].
pub fn singular_values(matrix: &Tensor<2>) -> Result<Vec<f64>, SpectrumError> {
    values(HostMatrix::read(matrix)?.view())
}

/// The entry of the largest magnitude, the first of equals.
fn largest_entry(column: ColRef<'_, f64>) -> f64 {
    column.iter().fold(0.0, |largest: f64, x| if x.abs() > largest.abs() { *x } else { largest })
}

fn tensor<const D: usize>(
    entries: &[f64],
    shape: [usize; D],
    device: &Device,
    dtype: DType,
) -> Tensor<D> {
    let data = TensorData::new(entries.to_vec(), shape);
    Tensor::from_data(data, (device, dtype))
}

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;
    use crate::algebra::testing::{close, sample, tensor, values};

    #[test]
    fn svd_equals_numpy() {
        let entries = [3.0, 1.0, -2.0, 0.0, 0.5, 2.0, 1.0, -1.0, 4.0, -3.0, 0.0, 2.0];
        let svd = svd(&tensor([3, 4], &entries)).unwrap();
        let (device, dtype) = (Device::default(), DType::F64);
        let u = [
            0.3922444278271092,
            0.8290315853746442,
            -0.3985610860204332,
            -0.17371956570374214,
            0.49224957454552143,
            0.852943063077165,
            0.9033082648411265,
            -0.2653243049759229,
            0.3371011596817146,
        ];
        let s = [5.836263160900221, 3.4655844512770955, 1.7826263567515774];
        let vt = [
            0.8058420997021197,
            -0.45664827384046036,
            -0.16418183946492254,
            0.33931576434955274,
            0.48243589126125164,
            0.7529764996584726,
            -0.33639739922487094,
            -0.29515892597002535,
            0.32490987806305366,
            0.16605923050985544,
            0.9256371807072865,
            -0.10026820429125138,
        ];
        close(svd.u_tensor(&device, dtype), tensor([3, 3], &u), 1e-14);
        close(svd.s_tensor(&device, dtype), tensor([3], &s), 1e-14);
        close(svd.vt_tensor(&device, dtype), tensor([3, 4], &vt), 1e-14);
    }

    #[test]
    fn wide_tall_and_thin_matrices_are_recovered() {
        for shape in [[5, 5], [3, 40], [40, 3], [1, 7], [7, 1], [1, 1]] {
            let matrix = sample(shape, 1);
            let svd = svd(&matrix).unwrap();
            assert_eq!(
                (svd.rows, svd.cols, svd.s.len()),
                (shape[0], shape[1], shape[0].min(shape[1]))
            );
            close(svd.matrix(&Device::default(), DType::F64), matrix.clone(), 1e-14);
            let alone = tensor([svd.s.len()], &singular_values(&matrix).unwrap());
            close(svd.s_tensor(&Device::default(), DType::F64), alone, 1e-14);
        }
    }

    #[test]
    fn the_largest_entry_of_each_left_vector_is_positive() {
        let svd = svd(&sample([6, 9], 2).neg()).unwrap();
        let u = svd.u_tensor(&Device::default(), DType::F64);
        assert_eq!(values(u.clone().max_dim(0)), values(u.abs().max_dim(0)));
    }

    #[test]
    fn other_float_types_and_the_zero_matrix_are_read() {
        let matrix = sample([4, 3], 3).cast(FloatDType::F32);
        let svd_of = svd(&matrix).unwrap();
        close(svd_of.matrix(&Device::default(), DType::F32), matrix, 1e-6);
        assert_eq!(svd(&tensor([2, 3], &[0.0; 6])).unwrap().s, [0.0, 0.0]);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        for value in [f64::NAN, f64::INFINITY] {
            let matrix = tensor([2, 3], &[0.0, 0.0, 0.0, 0.0, value, 0.0]);
            let message = svd(&matrix).unwrap_err().to_string();
            assert!(message.contains("entry (1, 1) of the 2x3 matrix"), "{message}");
            assert!(singular_values(&matrix).is_err());
        }
    }
}
