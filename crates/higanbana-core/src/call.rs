//! The shortcut: acting on features instead of building a weight.

use burn::tensor::{Tensor, ops::ConvOptions};

use crate::{Site, ops};

/// Features of a batch, as the layer at hand has them.
#[derive(Debug, Clone)]
pub enum Features {
    /// Rows of a linear layer, `[n, channels]`: the leading dimensions of its input flattened.
    Rows {
        /// The features.
        x: Tensor<2>,
        /// Number of samples; each owns `n / batch` neighbouring rows.
        batch: usize,
    },
    /// Maps of a 2-d convolution, `[batch, channels, height, width]`.
    Maps(Tensor<4>),
}

impl Features {
    /// Number of channels.
    pub fn channels(&self) -> usize {
        match self {
            Self::Rows { x, .. } => x.dims()[1],
            Self::Maps(x) => x.dims()[1],
        }
    }

    /// Number of positions: rows, or pixels of all samples.
    pub fn positions(&self) -> usize {
        match self {
            Self::Rows { x, .. } => x.dims()[0],
            Self::Maps(x) => {
                let [batch, _, height, width] = x.dims();
                batch * height * width
            }
        }
    }

    /// Mixes channels: `y[o] = Σ_c m[o, c] x[c]` at every position; `m` is `[out, channels]`.
    pub fn mix(&self, m: Tensor<2>) -> Self {
        match self {
            Self::Rows { x, batch } => {
                Self::Rows { x: x.clone().matmul(m.transpose()), batch: *batch }
            }
            Self::Maps(x) => {
                let [batch, channels, height, width] = x.dims();
                let [out, _] = m.dims();
                let x = x.clone().reshape([batch, channels, height * width]);
                let y = m.unsqueeze::<3>().matmul(x);
                Self::Maps(y.reshape([batch, out, height, width]))
            }
        }
    }

    /// Mixes the channels of each group by themselves: `m` is `[out, channels/groups]`, its rows
    /// grouped like those of a grouped convolution's weight.
    pub fn mix_groups(&self, m: Tensor<2>, groups: usize) -> Self {
        match self {
            Self::Maps(x) if groups > 1 => {
                let ([batch, channels, height, width], [out, _]) = (x.dims(), m.dims());
                let x = x.clone().reshape([batch, groups, channels / groups, height * width]);
                let m = m.reshape([1, groups, out / groups, channels / groups]);
                Self::Maps(m.matmul(x).reshape([batch, out, height, width]))
            }
            _ => self.mix(m),
        }
    }

    /// Scales channels: `y[c] = v[c] x[c]`; `v` is `[channels]`.
    pub fn scale(&self, v: Tensor<1>) -> Self {
        let channels = v.dims()[0];
        match self {
            Self::Rows { x, batch } => {
                Self::Rows { x: x.clone() * v.reshape([1, channels]), batch: *batch }
            }
            Self::Maps(x) => Self::Maps(x.clone() * v.reshape([1, channels, 1, 1])),
        }
    }

    /// Scales channels sample by sample: `v` is `[batch, channels]`, or `[1, channels]` for all.
    ///
    /// # Panics
    /// When `v` has neither one row nor one for each sample.
    pub fn scale_each(&self, v: Tensor<2>) -> Self {
        let [rows, channels] = v.dims();
        if rows == 1 {
            return self.scale(v.reshape([channels]));
        }
        match self {
            Self::Rows { x, batch } => {
                assert_eq!(rows, *batch, "{rows} masks for a batch of {batch} samples");
                let n = x.dims()[0];
                let x = x.clone().reshape([rows, n / rows, channels]) * v.unsqueeze_dim::<3>(1);
                Self::Rows { x: x.reshape([n, channels]), batch: *batch }
            }
            Self::Maps(x) => {
                assert_eq!(
                    rows,
                    x.dims()[0],
                    "{rows} masks for a batch of {} samples",
                    x.dims()[0]
                );
                Self::Maps(x.clone() * v.reshape([rows, channels, 1, 1]))
            }
        }
    }

    /// Multiplies by a number.
    pub fn mul_scalar(&self, factor: f64) -> Self {
        match self {
            Self::Rows { x, batch } => {
                Self::Rows { x: x.clone().mul_scalar(factor), batch: *batch }
            }
            Self::Maps(x) => Self::Maps(x.clone().mul_scalar(factor)),
        }
    }

    /// Shifts channels: `y[c] = x[c] + b[c]`; `b` is `[channels]`.
    pub fn shift(&self, b: Tensor<1>) -> Self {
        match self {
            Self::Rows { x, batch } => Self::Rows { x: x.clone() + b.unsqueeze(), batch: *batch },
            Self::Maps(x) => Self::Maps(x.clone() + b.unsqueeze_dims(&[0, 2, 3])),
        }
    }
}

/// Sum of features of the same shape.
///
/// # Panics
/// When one holds rows and the other maps.
impl std::ops::Add for Features {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Rows { x, batch }, Self::Rows { x: y, .. }) => Self::Rows { x: x + y, batch },
            (Self::Maps(x), Self::Maps(y)) => Self::Maps(x + y),
            _ => panic!("rows and maps do not add"),
        }
    }
}

/// What a layer does with its weight.
#[derive(Debug, Clone)]
pub enum Op {
    /// `y = x Wᵀ`.
    Linear,
    /// 2-d convolution with stride, padding, dilation and groups.
    Conv2d(ConvOptions<2>),
}

impl Op {
    /// Number of groups into which the channels of input and output fall apart: factors of a weight
    /// then act on parts of the input.
    pub fn groups(&self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Conv2d(options) => options.groups,
        }
    }
}

/// One forward call of a layer, as its adapters see it.
#[derive(Debug)]
pub struct Call<'a> {
    /// Site of the weight.
    pub site: &'a Site,
    /// The frozen weight `[out, in·K]`.
    pub w0: &'a Tensor<2>,
    /// Input features.
    pub x: &'a Features,
    /// What the layer does.
    pub op: &'a Op,
    /// Strength $\mu$.
    pub strength: f64,
}

impl Call<'_> {
    /// The layer's own operation on its input with another matrix `[out', in·K]` as weight.
    pub fn apply(&self, matrix: Tensor<2>) -> Features {
        self.apply_to(self.x, matrix)
    }

    /// The layer's own operation on `x` with a matrix `[out', channels/groups·K]` as weight.
    ///
    /// # Panics
    /// When the features are not of the layer's kind.
    pub fn apply_to(&self, x: &Features, matrix: Tensor<2>) -> Features {
        match (self.op, x) {
            (Op::Linear, x) => x.mix(matrix),
            (Op::Conv2d(options), Features::Maps(x)) => {
                let [out, cols] = matrix.dims();
                let [height, width] = [self.site.kernel()[0], self.site.kernel()[1]];
                let weight = matrix.reshape([out, cols / (height * width), height, width]);
                Features::Maps(ops::conv2d(x.clone(), weight, None, options.clone()))
            }
            (Op::Conv2d(_), Features::Rows { .. }) => panic!("a convolution acts on maps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn groups_mix_by_themselves() {
        let device = Device::default();
        let x = Tensor::from_data([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]], &device);
        let m = Tensor::from_data([[1.0, 10.0], [0.0, 1.0], [1.0, 10.0], [0.0, 1.0]], &device);
        let Features::Maps(y) = Features::Maps(x).mix_groups(m, 2) else {
            panic!("maps stay maps")
        };
        let expected = TensorData::from([[[[21.0]], [[2.0]], [[43.0]], [[4.0]]]]);
        y.to_data().assert_eq(&expected, false);
    }
}
