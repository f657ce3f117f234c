//! Attention.

use burn::{
    module::Module,
    nn::LinearConfig,
    tensor::{DType, Device, Tensor},
};
use higanbana_adapters::layers::Linear;
use higanbana_core::ops::attention;

/// $$ W_o concat_h softmax\Big(\frac{Q_h K_h^T}{\sqrt{d}}\Big) V_h + b_o, \quad
/// Q = x W_q, \quad K = c W_k, \quad V = c W_v $$
///
/// with the context $c$ the text (cross attention) or $x$ itself, $h$ the heads and $d$ the width of
/// one (arXiv:1706.03762).
#[derive(Module, Debug)]
pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    /// One layer; in diffusers a dropout follows it, hence the list.
    to_out: Vec<Linear>,
    heads: usize,
    upcast: bool,
}

impl Attention {
    pub(super) fn new(
        width: usize,
        context: usize,
        heads: usize,
        upcast: bool,
        device: &Device,
    ) -> Self {
        let linear =
            |input, bias| Linear::new(&LinearConfig::new(input, width).with_bias(bias), device);
        Self {
            to_q: linear(width, false),
            to_k: linear(context, false),
            to_v: linear(context, false),
            to_out: vec![linear(width, true)],
            heads,
            upcast,
        }
    }

    /// `[batch, positions, width]` and `[batch, tokens, context]` to `[batch, positions, width]`.
    pub fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let q = self.to_q.forward(x);
        let k = self.to_k.forward(context.clone());
        let v = self.to_v.forward(context);
        self.to_out[0].forward(attend([q, k, v], self.heads, self.upcast, false))
    }
}

/// [Attention](attention) with half precision computed in single precision where `upcast` says so.
pub(crate) fn attend(qkv: [Tensor<3>; 3], heads: usize, upcast: bool, causal: bool) -> Tensor<3> {
    let dtype = qkv[0].dtype();
    if !(upcast && matches!(dtype, DType::F16 | DType::BF16)) {
        return attention(qkv, heads, causal);
    }
    attention(qkv.map(|x| x.cast(DType::F32)), heads, causal).cast(dtype)
}
