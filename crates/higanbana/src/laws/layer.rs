//! A layer of Burn's own for each kind of parameter, acting on a fixed random input.

use burn::{
    module::{Module, Param},
    nn::{
        LayerNorm, LayerNormConfig, Linear, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv1d, Conv2d, Conv3d},
    },
    tensor::Tensor,
};
use higanbana_core::SiteKind;

use super::{Geometry, Subject, measure::values};

const BATCH: usize = 2;

/// The layer of a trial.
#[derive(Module, Debug)]
pub(super) enum Layer {
    /// With the adapted parameter as weight or bias.
    Linear(Linear),
    /// Without bias, as the two below.
    Conv1d(Conv1d),
    /// In two dimensions.
    Conv2d(Conv2d),
    /// In three dimensions.
    Conv3d(Conv3d),
    /// With the adapted parameter as scale or shift.
    Norm(LayerNorm),
}

impl Layer {
    /// The layer with `matrix`, `[out, in·K]`, as its adapted parameter.
    pub(super) fn new(subject: &Subject, matrix: &Tensor<2>) -> Self {
        let site = subject.site();
        let vector = || Param::from_tensor(site.from_matrix::<1>(matrix.clone()));
        let (k, g) = (site.kernel(), subject.trial.geometry);
        let Geometry { stride, padding: p, dilation, groups } = g;
        match site.kind {
            SiteKind::Linear => {
                let weight = Param::from_tensor(site.from_matrix(matrix.clone()));
                Self::Linear(Linear { weight, bias: None })
            }
            SiteKind::Bias => {
                let weight = subject.normal("another weight", [3, site.out()]);
                Self::Linear(Linear { weight: Param::from_tensor(weight), bias: Some(vector()) })
            }
            SiteKind::Conv1d => Self::Conv1d(Conv1d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias: None,
                stride,
                kernel_size: k[0],
                dilation,
                groups,
                padding: PaddingConfig1d::Explicit(p, p),
            }),
            SiteKind::Conv2d => Self::Conv2d(Conv2d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias: None,
                stride: [stride; 2],
                kernel_size: [k[0], k[1]],
                dilation: [dilation; 2],
                groups,
                padding: PaddingConfig2d::Explicit(p, p, p, p),
            }),
            SiteKind::Conv3d => Self::Conv3d(Conv3d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias: None,
                stride: [stride; 3],
                kernel_size: [k[0], k[1], k[2]],
                dilation: [dilation; 3],
                groups,
                padding: PaddingConfig3d::Explicit(p, p, p),
            }),
            SiteKind::Norm | SiteKind::NormBias => {
                let mut norm = LayerNormConfig::new(site.out()).init(&matrix.device());
                let other = Param::from_tensor(subject.normal("the other one", [site.out()]));
                (norm.gamma, norm.beta) = match site.kind {
                    SiteKind::Norm => (vector(), Some(other)),
                    _ => (other, Some(vector())),
                };
                Self::Norm(norm)
            }
        }
    }

    /// Name of the adapted parameter in Burn's layer.
    pub(super) fn parameter(kind: SiteKind) -> &'static str {
        match kind {
            SiteKind::Norm => "gamma",
            SiteKind::NormBias => "beta",
            SiteKind::Bias => "bias",
            _ => "weight",
        }
    }

    /// Bytes of the adapted parameter as the layer uses it.
    pub(super) fn effective(&self, kind: SiteKind) -> Vec<u8> {
        match (self, kind) {
            (Self::Linear(Linear { bias: Some(bias), .. }), _) => bytes(bias),
            (Self::Linear(layer), _) => bytes(&layer.weight),
            (Self::Conv1d(layer), _) => bytes(&layer.weight),
            (Self::Conv2d(layer), _) => bytes(&layer.weight),
            (Self::Conv3d(layer), _) => bytes(&layer.weight),
            (Self::Norm(LayerNorm { beta: Some(beta), .. }), SiteKind::NormBias) => bytes(beta),
            (Self::Norm(layer), _) => bytes(&layer.gamma),
        }
    }

    /// Output on the random input.
    pub(super) fn act(&self, subject: &Subject) -> Vec<f64> {
        let (channels, extent) = (subject.trial.channels(), subject.trial.extent());
        match self {
            Self::Linear(layer) => {
                let [channels, _] = layer.weight.dims();
                values(&layer.forward(subject.normal("x", [BATCH, channels])))
            }
            Self::Conv1d(layer) => {
                values(&layer.forward(subject.normal("x", [BATCH, channels, extent[0]])))
            }
            Self::Conv2d(layer) => {
                let shape = [BATCH, channels, extent[0], extent[1]];
                values(&layer.forward(subject.normal("x", shape)))
            }
            Self::Conv3d(layer) => {
                let shape = [BATCH, channels, extent[0], extent[1], extent[2]];
                values(&layer.forward(subject.normal("x", shape)))
            }
            Self::Norm(layer) => {
                values(&layer.forward(subject.normal("x", [BATCH, subject.site().out()])))
            }
        }
    }
}

fn bytes<const D: usize>(param: &Param<Tensor<D>>) -> Vec<u8> {
    param.val().to_data().as_bytes().to_vec()
}
