//! A linear layer with a shortcut for its adapters.

use burn::{
    module::{Module, Param},
    nn,
    tensor::{Device, Tensor, module},
};
use higanbana_core::{Features, Op};

use super::{shortcut::forward, watch::watched};

/// `y = x W + b`: Burn's [`Linear`](nn::Linear), with the same parameters and records.
///
/// ```text
/// weight  [in, out]     (adapters see its transpose)
/// bias    [out]
/// ```
#[derive(Module, Debug)]
pub struct Linear {
    /// $W$, `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// $b$, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer of Burn's configuration.
    pub fn new(config: &nn::LinearConfig, device: &Device) -> Self {
        config.init(device).into()
    }

    /// `[..., in]` to `[..., out]`. The leading dimension counts the samples of the batch.
    ///
    /// # Panics
    /// When the last dimension is not `in`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let mut dims = x.dims();
        let features = || Features::Rows {
            x: x.clone().reshape([dims[..D - 1].iter().product(), dims[D - 1]]),
            batch: if D == 1 { 1 } else { dims[0] },
        };
        let y = match forward(&self.weight, &bias, features, &Op::Linear) {
            Some(Features::Rows { x: y, .. }) => {
                dims[D - 1] = y.dims()[1];
                y.reshape(dims)
            }
            _ => module::linear(x, self.weight.val(), bias),
        };
        watched(self.weight.id, y)
    }
}

impl From<nn::Linear> for Linear {
    fn from(layer: nn::Linear) -> Self {
        Self { weight: layer.weight, bias: layer.bias }
    }
}
