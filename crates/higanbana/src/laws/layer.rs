//! A model with one layer of Burn's own, for each kind of parameter, acting on a fixed random input.

use burn::{
    module::{Module, Param},
    nn::{
        LayerNorm, LayerNormConfig, Linear, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv1d, Conv2d, Conv3d},
    },
    tensor::Tensor,
};
use higanbana_adapters::layers;
use higanbana_core::{PathChoice, SiteKind};

use super::{Geometry, Subject, measure::values};

const BATCH: usize = 2;

/// A model with the layer of a trial.
#[derive(Module, Debug)]
pub(super) struct Model {
    layer: Layer,
}

/// Name of the set of adapters.
pub(super) const SET: &str = "laws";

impl Model {
    /// The model with `matrix`, `[out, in·K]`, as its adapted parameter.
    pub(super) fn new(subject: &Subject, matrix: &Tensor<2>) -> Self {
        Self { layer: Layer::new(subject, matrix) }
    }

    /// The model with the frozen weight.
    pub(super) fn base(subject: &Subject) -> Self {
        Self::new(subject, &subject.w0)
    }

    /// The model with the frozen weight and the trained adapter on it.
    pub(super) fn adapted(subject: &Subject) -> Self {
        let adapters = vec![(subject.site().clone(), subject.trained.clone())];
        let strength = subject.trial.strength;
        let adapted = (subject.operations.attach)(&Self::base(subject), SET, strength, adapters);
        adapted.expect("the model has this parameter")
    }

    /// Bytes of the parameters as the layer uses them.
    pub(super) fn effective(&self) -> [Option<Vec<u8>>; 2] {
        match &self.layer {
            Layer::Linear(layer) => bytes(&layer.weight, &layer.bias),
            Layer::Conv1d(layer) => bytes(&layer.weight, &layer.bias),
            Layer::Conv2d(layer) => bytes(&layer.weight, &layer.bias),
            Layer::Conv3d(layer) => bytes(&layer.weight, &layer.bias),
            Layer::Norm(layer) => bytes(&layer.gamma, &layer.beta),
        }
    }

    /// Output on the random input.
    pub(super) fn act(&self, subject: &Subject) -> Vec<f64> {
        match &self.layer {
            Layer::Linear(layer) => values(&layer.forward(input::<2>(subject))),
            Layer::Conv1d(layer) => values(&layer.forward(input(subject))),
            Layer::Conv2d(layer) => values(&layer.forward(input(subject))),
            Layer::Conv3d(layer) => values(&layer.forward(input(subject))),
            Layer::Norm(layer) => values(&layer.forward(input::<2>(subject))),
        }
    }

    /// Output of this toolkit's layer with the same parameters, where there is one.
    pub(super) fn act_as_own(&self, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
        match self.layer.clone() {
            Layer::Linear(layer) => {
                let layer = layers::set_path(layers::Linear::from(layer), path);
                Some(values(&layer.forward(input::<2>(subject))))
            }
            Layer::Conv2d(layer) => {
                let layer = layers::set_path(layers::Conv2d::from(layer), path);
                Some(values(&layer.forward(input(subject))))
            }
            _ => None,
        }
    }
}

/// The layer of a trial.
#[derive(Module, Debug)]
enum Layer {
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
    /// The layer with `matrix`, `[out, in·K]`, as its adapted parameter. Weights have a bias beside
    /// them, which no adapter of theirs may touch.
    fn new(subject: &Subject, matrix: &Tensor<2>) -> Self {
        let site = subject.site();
        let bias = Some(Param::from_tensor(subject.normal("bias", [site.out()])));
        let vector = || Param::from_tensor(site.from_matrix::<1>(matrix.clone()));
        let k = site.kernel();
        let Geometry { stride, padding: p, dilation, groups } = subject.trial.geometry;
        match site.kind {
            SiteKind::Linear => {
                let weight = Param::from_tensor(site.from_matrix(matrix.clone()));
                Self::Linear(Linear { weight, bias })
            }
            SiteKind::Bias => {
                let weight = subject.normal("another weight", [3, site.out()]);
                Self::Linear(Linear { weight: Param::from_tensor(weight), bias: Some(vector()) })
            }
            SiteKind::Conv1d => Self::Conv1d(Conv1d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias,
                stride,
                kernel_size: k[0],
                dilation,
                groups,
                padding: PaddingConfig1d::Explicit(p, p),
            }),
            SiteKind::Conv2d => Self::Conv2d(Conv2d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias,
                stride: [stride; 2],
                kernel_size: [k[0], k[1]],
                dilation: [dilation; 2],
                groups,
                padding: PaddingConfig2d::Explicit(p, p, p, p),
            }),
            SiteKind::Conv3d => Self::Conv3d(Conv3d {
                weight: Param::from_tensor(site.from_matrix(matrix.clone())),
                bias,
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
}

fn input<const D: usize>(subject: &Subject) -> Tensor<D> {
    let channels = match subject.site().kind {
        SiteKind::Norm | SiteKind::NormBias => subject.site().out(),
        SiteKind::Bias => 3,
        _ => subject.trial.channels(),
    };
    let mut shape = [BATCH; D];
    shape[1] = channels;
    shape[2..].copy_from_slice(&subject.trial.extent());
    subject.normal("x", shape)
}

fn bytes<const D: usize>(
    weight: &Param<Tensor<D>>,
    bias: &Option<Param<Tensor<1>>>,
) -> [Option<Vec<u8>>; 2] {
    let bias = bias.as_ref().map(|bias| bias.val().to_data().as_bytes().to_vec());
    [Some(weight.val().to_data().as_bytes().to_vec()), bias]
}
