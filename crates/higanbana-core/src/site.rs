//! The parameter that an adapter acts on, seen as a matrix.
//!
//! All adapter algebra speaks the papers' language: a weight is a matrix $W_0$ of shape
//! `[out, in·K]`, with `K` the number of kernel taps (1 for a linear layer). Burn's `Linear` stores
//! `[in, out]`: it is transposed here and nowhere else.

use burn::tensor::{Shape, Tensor};

/// What kind of parameter a [`Site`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SiteKind {
    /// Weight of a linear layer, `[out, in]`.
    Linear,
    /// Weight of a 1-d convolution, `[out, in/groups, k]`.
    Conv1d,
    /// Weight of a 2-d convolution, `[out, in/groups, k, k]`.
    Conv2d,
    /// Weight of a 3-d convolution, `[out, in/groups, k, k, k]`.
    Conv3d,
    /// Scale of a normalisation layer, `[out]`.
    Norm,
    /// Shift of a normalisation layer, `[out]`.
    NormBias,
    /// Bias of a linear layer or convolution, `[out]`.
    Bias,
}

impl SiteKind {
    /// Linear layers and convolutions: what most adapters act on.
    pub const WEIGHTS: &'static [SiteKind] =
        &[SiteKind::Linear, SiteKind::Conv1d, SiteKind::Conv2d, SiteKind::Conv3d];

    /// Kind of a weight with this many dimensions in a checkpoint; a vector counts as a norm's scale.
    pub fn of_rank(rank: usize) -> Option<Self> {
        match rank {
            1 => Some(Self::Norm),
            2 => Some(Self::Linear),
            3 => Some(Self::Conv1d),
            4 => Some(Self::Conv2d),
            5 => Some(Self::Conv3d),
            _ => None,
        }
    }

    /// Whether parameters of this kind are vectors.
    pub fn is_vector(self) -> bool {
        matches!(self, Self::Norm | Self::NormBias | Self::Bias)
    }

    /// Whether parameters of this kind stand beside the weight of their layer.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::NormBias | Self::Bias)
    }

    /// Name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear layer",
            Self::Conv1d => "1-d convolution",
            Self::Conv2d => "2-d convolution",
            Self::Conv3d => "3-d convolution",
            Self::Norm => "norm",
            Self::NormBias => "norm's bias",
            Self::Bias => "bias",
        }
    }
}

/// One parameter of one layer: where it is, what it is, how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Path of the layer in its model, without the parameter's own name: `mid.0.to_q`.
    pub path: String,
    /// Kind of the parameter.
    pub kind: SiteKind,
    /// Shape as checkpoints have it: `[out, in/groups, kernel...]`, `[out]` for vectors.
    pub shape: Vec<usize>,
}

impl Site {
    /// A site at `path` with a checkpoint's `shape`.
    pub fn new(path: impl Into<String>, kind: SiteKind, shape: impl Into<Vec<usize>>) -> Self {
        Self { path: path.into(), kind, shape: shape.into() }
    }

    /// Output features: rows of the matrix.
    pub fn out(&self) -> usize {
        self.shape[0]
    }

    /// Input features per group; 1 for vectors.
    pub fn input(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    /// Kernel sizes; empty for everything but convolutions.
    pub fn kernel(&self) -> &[usize] {
        self.shape.get(2..).unwrap_or_default()
    }

    /// Number of kernel taps `K`; 1 for everything but convolutions.
    pub fn taps(&self) -> usize {
        self.kernel().iter().product()
    }

    /// Columns of the matrix, `in·K`.
    pub fn cols(&self) -> usize {
        self.input() * self.taps()
    }

    /// Whether this is a convolution with more than one tap.
    pub fn has_taps(&self) -> bool {
        self.taps() > 1
    }

    /// Largest rank that a matrix of this site can have.
    pub fn full_rank(&self) -> usize {
        self.out().min(self.cols())
    }

    /// Shape in a file of a factor `[rows, cols]` that a 1×1 convolution carries: `[rows, cols, 1...]`.
    pub fn pointwise_shape(&self, rows: usize, cols: usize) -> Vec<usize> {
        let mut shape = vec![rows, cols];
        shape.extend(self.kernel().iter().map(|_| 1));
        shape
    }

    /// Shape in a file of a factor `[rows, cols]` that carries the kernel: `[rows, cols, kernel...]`.
    pub fn kernel_shape(&self, rows: usize, cols: usize) -> Vec<usize> {
        let mut shape = vec![rows, cols];
        shape.extend(self.kernel());
        shape
    }

    /// The parameter as Burn holds it, as the matrix `[out, in·K]`.
    pub fn to_matrix<const D: usize>(&self, param: Tensor<D>) -> Tensor<2> {
        match self.kind {
            SiteKind::Linear => param.reshape([self.cols(), self.out()]).transpose(),
            _ => param.reshape([self.out(), self.cols()]),
        }
    }

    /// Inverse of [`Site::to_matrix`].
    pub fn from_matrix<const D: usize>(&self, matrix: Tensor<2>) -> Tensor<D> {
        match self.kind {
            SiteKind::Linear => {
                matrix.transpose().reshape(Shape::from(vec![self.cols(), self.out()]))
            }
            _ => matrix.reshape(Shape::from(self.shape.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn linear_is_transposed_once_and_back() {
        let device = Device::default();
        let burn_weight = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device);
        let site = Site::new("l", SiteKind::Linear, [3, 2]);
        let matrix = site.to_matrix(burn_weight.clone());
        matrix.to_data().assert_eq(&TensorData::from([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]), false);
        site.from_matrix::<2>(matrix).to_data().assert_eq(&burn_weight.to_data(), true);
    }

    #[test]
    fn convolution_is_unfolded_over_input_and_kernel() {
        let site = Site::new("c", SiteKind::Conv2d, [8, 4, 3, 3]);
        assert_eq!((site.out(), site.input(), site.taps(), site.cols()), (8, 4, 9, 36));
        assert_eq!(site.kernel_shape(2, 4), [2, 4, 3, 3]);
        assert_eq!(site.pointwise_shape(8, 2), [8, 2, 1, 1]);
    }
}
