//! What the models compute in.
//!
//! In half precision the frozen weights and the features take half of the memory. The trained tensors,
//! their gradients, the optimizer and the loss stay in single precision, as do the latents
//! (arXiv:1710.03740).
//!
//! ```text
//!        precision   smallest    largest
//! f32    2^-24       1e-45       3e38
//! bf16   2^-8        1e-40       3e38
//! f16    2^-11       6e-8        65504
//! ```
//!
//! Gradients of a mean over thousands of values are often smaller than what `f16` can hold. The loss is
//! therefore multiplied by $s$ before the backward pass and the gradients are divided by it after; if one
//! is too large for that, the step is done again with $s/2$, down to 1. Every step begins with the same
//! $s$, so that it follows from its number alone.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// A type of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// Half, with the range of single.
    Bf16,
    /// Half, more precise and with a range of its own.
    F16,
}

impl From<Precision> for DType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::BF16,
            Precision::F16 => Self::F16,
        }
    }
}

impl Precision {
    /// Burn's type, if a device computes in it.
    ///
    /// # Errors
    /// When it does not.
    pub fn on(self, device: &Device) -> Result<DType, TrainError> {
        let dtype = DType::from(self);
        if device.supports_dtype(dtype) {
            return Ok(dtype);
        }
        let name = dtype.name();
        let reason = format!("train.dtype: this device does not compute in {name}; leave it out");
        Err(TrainError::recipe("RUN.toml", reason))
    }

    /// $s$, with which a step begins.
    pub fn loss_scale(self) -> f64 {
        if self == Self::F16 { 4096.0 } else { 1.0 }
    }
}

/// The gradients of a model, divided by $s$.
pub(crate) fn unscaled<M: Module>(
    model: &M,
    mut gradients: GradientsParams,
    s: f64,
) -> GradientsParams {
    struct Divide<'a>(&'a mut GradientsParams, f64);
    impl ModuleVisitor for Divide<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.div_scalar(self.1));
            }
        }
    }
    if s != 1.0 {
        model.visit(&mut Divide(&mut gradients, s));
    }
    gradients
}
