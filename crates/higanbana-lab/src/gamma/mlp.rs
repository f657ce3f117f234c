//! The small network: two layers, and another such network to imitate.

use std::cell::RefCell;

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{
        GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{DType, Device, Tensor},
};
use higanbana_core::Init;

use super::task::{Task, fan_in, randomise, stream};

/// Samples of a batch.
const BATCH: usize = 8;
/// Height and width of a map, for convolutions.
const EXTENT: usize = 4;
/// Groups of the normalisation.
const GROUPS: usize = 2;
/// Features of its input, its hidden layer and its output; a quarter as many channels where the layers are
/// convolutions.
pub(super) const WIDTHS: [usize; 3] = [16, 32, 16];

/// $y = f_2(\tanh(\operatorname{norm}(f_1(x))))$ with two linear layers, or two convolutions.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    first: Layer,
    norm: GroupNorm,
    second: Layer,
}

/// One or the other.
#[derive(Module, Debug)]
enum Layer {
    Linear(Linear),
    Conv(Conv2d),
}

impl Layer {
    fn new(convolution: bool, [input, output]: [usize; 2], device: &Device) -> Self {
        if !convolution {
            return Self::Linear(LinearConfig::new(input, output).init(device));
        }
        let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
        Self::Conv(Conv2dConfig::new([input, output], [3, 3]).with_padding(padding).init(device))
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(linear) => linear.forward(x),
            Self::Conv(conv) => {
                let [batch, features] = x.dims();
                let channels = features / (EXTENT * EXTENT);
                conv.forward(x.reshape([batch, channels, EXTENT, EXTENT])).flatten(1, 3)
            }
        }
    }
}

impl Mlp {
    /// Random weights, drawn on the host.
    pub(super) fn new(
        convolution: bool,
        widths: [usize; 3],
        device: &Device,
        dtype: DType,
        seed: u64,
    ) -> Self {
        let device = &device.clone().inner();
        let [input, hidden, output] =
            if convolution { widths.map(|width| width / 4) } else { widths };
        let net = Self {
            first: Layer::new(convolution, [input, hidden], device),
            norm: GroupNormConfig::new(GROUPS, hidden).init(device),
            second: Layer::new(convolution, [hidden, output], device),
        };
        randomise(net, stream("base", device, dtype, seed))
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.first.forward(x);
        let [batch, features] = hidden.dims();
        let channels = self.norm.num_channels;
        let normed = self.norm.forward(hidden.reshape([batch, channels, features / channels]));
        self.second.forward(normed.reshape([batch, features]).tanh())
    }

    /// Features of a sample.
    fn inputs(&self) -> usize {
        match &self.first {
            Layer::Linear(linear) => linear.weight.dims()[0],
            Layer::Conv(conv) => conv.weight.dims()[1] * EXTENT * EXTENT,
        }
    }

    fn device(&self) -> Device {
        self.scale().device()
    }

    fn dtype(&self) -> DType {
        self.scale().dtype()
    }

    fn scale(&self) -> Tensor<1> {
        self.norm.gamma.as_ref().expect("the norm has a scale").val()
    }
}

/// To become another network near the first.
pub(super) struct Imitation {
    teacher: Mlp,
    seed: u64,
    /// Inputs and targets of the steps so far.
    batches: RefCell<Vec<[Tensor<2>; 2]>>,
}

impl Imitation {
    pub(super) fn new(base: &Mlp, seed: u64) -> Self {
        let init = stream("teacher", &base.device(), base.dtype(), seed);
        let teacher = base.clone().map(&mut Perturb { init });
        Self { teacher, seed, batches: RefCell::default() }
    }

    fn batch(&self, step: usize) -> [Tensor<2>; 2] {
        let mut batches = self.batches.borrow_mut();
        for step in batches.len()..=step {
            let (device, dtype) = (self.teacher.device(), self.teacher.dtype());
            let mut init = stream(&format!("batch {step}"), &device, dtype, self.seed);
            let x = init.normal([BATCH, self.teacher.inputs()], 1.0);
            batches.push([x.clone(), self.teacher.forward(x)]);
        }
        batches[step].clone()
    }
}

impl Task for Imitation {
    type Model = Mlp;

    /// The squared distance to the teacher.
    fn loss(&self, model: &Mlp, step: usize) -> Tensor<1> {
        let [x, y] = self.batch(step).map(Tensor::from_inner);
        let size = y.shape().num_elements() as f64;
        (model.forward(x) - y).square().sum().mul_scalar(2.0 / size)
    }
}

struct Perturb {
    init: Init,
}

impl ModuleMapper for Perturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let std = if D == 1 { 0.3 } else { 0.7 / fan_in(shape.as_slice()).sqrt() };
        let noise = self.init.normal::<1>([shape.num_elements()], std).reshape(shape);
        param.map(|tensor| tensor + noise.clone())
    }
}
