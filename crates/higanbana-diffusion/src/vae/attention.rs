//! Attention of a map to itself.

use burn::{
    module::Module,
    nn::{GroupNorm, LinearConfig},
    tensor::{Device, Tensor},
};
use higanbana_adapters::layers::Linear;

use crate::unet::{
    attention::attend,
    resnet::{Norm, group_norm, normalised},
    transformer::{to_map, to_rows},
};

/// $y = x + W_o attention(norm(x)) + b_o$ with one head, over the pixels of a map.
#[derive(Module, Debug)]
pub struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
}

impl Attention {
    pub(super) fn new(width: usize, norm: Norm, device: &Device) -> Self {
        let linear = || Linear::new(&LinearConfig::new(width, width), device);
        Self {
            group_norm: group_norm(norm, width, device),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: vec![linear()],
        }
    }

    /// `[batch, width, h, w]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let rows = to_rows(normalised(&self.group_norm, x.clone(), false));
        let qkv = [&self.to_q, &self.to_k, &self.to_v].map(|linear| linear.forward(rows.clone()));
        x + to_map(self.to_out[0].forward(attend(qkv, 1, false, false)), [h, w])
    }
}
