//! A layer of Burn's own for each kind of parameter, acting on a fixed random input.

use burn::{
    module::{Module, Param, Reparameterizer},
    nn::{
        LayerNorm, LayerNormConfig, Linear, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv1d, Conv2d, Conv3d},
    },
    tensor::Tensor,
};
use higanbana_adapters::layers;
use higanbana_core::{Member, PathChoice, SiteKind, Slot};

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
    /// The layer with `matrix`, `[out, in·K]`, as its adapted parameter. Weights have a bias beside
    /// them, which no adapter of theirs may touch.
    pub(super) fn new(subject: &Subject, matrix: &Tensor<2>) -> Self {
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

    /// The layer with the frozen weight and the trained adapter on it.
    pub(super) fn adapted(subject: &Subject) -> Self {
        let member = Member::new("laws", subject.trial.strength, subject.trained.clone());
        Self::carrying(subject, member)
    }

    /// The layer with the frozen weight and an adapter on it.
    pub(super) fn carrying(subject: &Subject, member: Member) -> Self {
        Self::new(subject, &subject.w0).apply_reparameterization(Attach(Slot {
            members: vec![member],
            ..Slot::new(subject.site().clone())
        }))
    }

    /// Bytes of the adapted parameter as the layer uses it.
    pub(super) fn effective(&self, kind: SiteKind) -> Vec<u8> {
        match (self, kind) {
            (Self::Linear(Linear { bias: Some(bias), .. }), SiteKind::Bias) => bytes(bias),
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
        match self {
            Self::Linear(layer) => values(&layer.forward(input::<2>(subject))),
            Self::Conv1d(layer) => values(&layer.forward(input(subject))),
            Self::Conv2d(layer) => values(&layer.forward(input(subject))),
            Self::Conv3d(layer) => values(&layer.forward(input(subject))),
            Self::Norm(layer) => values(&layer.forward(input::<2>(subject))),
        }
    }

    /// Output of this toolkit's layer with the same parameters, where there is one.
    pub(super) fn act_as_own(&self, subject: &Subject, path: PathChoice) -> Option<Vec<f64>> {
        match self.clone() {
            Self::Linear(layer) => {
                let layer = layers::set_path(layers::Linear::from(layer), path);
                Some(values(&layer.forward(input::<2>(subject))))
            }
            Self::Conv2d(layer) => {
                let layer = layers::set_path(layers::Conv2d::from(layer), path);
                Some(values(&layer.forward(input(subject))))
            }
            _ => None,
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

fn bytes<const D: usize>(param: &Param<Tensor<D>>) -> Vec<u8> {
    param.val().to_data().as_bytes().to_vec()
}

/// Puts a slot on the one parameter that it is for, and freezes all.
struct Attach(Slot);

impl Reparameterizer for Attach {
    type Reparam = Slot;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Slot>) {
        let name = match self.0.site.kind {
            SiteKind::Norm => "gamma",
            SiteKind::NormBias => "beta",
            SiteKind::Bias => "bias",
            _ => "weight",
        };
        let here = path.ends_with(name);
        (param.set_require_grad(false), here.then(|| self.0.clone()))
    }
}
