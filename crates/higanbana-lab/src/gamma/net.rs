//! The network that is trained, and the task that it is given.

use std::cell::RefCell;

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{
        GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{DType, Device, Tensor, TensorData},
};
use higanbana_core::{Degree, Init, Site, SiteKind, slot};
use higanbana_train::{Rule, Scaling, ScalingError};

/// Samples of a batch.
const BATCH: usize = 8;
/// Height and width of a map, for convolutions.
const EXTENT: usize = 4;
/// Features of a sample where the layers are linear, and channels where they are convolutions.
const INPUTS: usize = 16;
const CHANNELS: usize = 4;

/// $y = f_2(\tanh(\operatorname{norm}(f_1(x))))$ with two linear layers, or two convolutions.
#[derive(Module, Debug)]
pub(super) struct Net {
    first: Layer,
    norm: GroupNorm,
    second: Layer,
}

/// One or the other. No enum: names of variants would be part of the paths of parameters.
#[derive(Module, Debug)]
struct Layer {
    linear: Option<Linear>,
    conv: Option<Conv2d>,
}

impl Layer {
    fn new(convolution: bool, [input, output]: [usize; 2], device: &Device) -> Self {
        let linear = || LinearConfig::new(input, output).init(device);
        let conv = || {
            let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new([input, output], [3, 3]).with_padding(padding).init(device)
        };
        Self { linear: (!convolution).then(linear), conv: convolution.then(conv) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match (&self.linear, &self.conv) {
            (Some(linear), _) => linear.forward(x),
            (_, Some(conv)) => {
                let [batch, features] = x.dims();
                let channels = features / (EXTENT * EXTENT);
                conv.forward(x.reshape([batch, channels, EXTENT, EXTENT])).flatten(1, 3)
            }
            _ => x,
        }
    }
}

impl Net {
    /// Random weights, drawn on the host.
    pub(super) fn new(convolution: bool, device: &Device, dtype: DType, seed: u64) -> Self {
        let device = &device.clone().inner();
        let [input, hidden, output] =
            if convolution { [CHANNELS, 8, CHANNELS] } else { [INPUTS, 32, INPUTS] };
        let net = Self {
            first: Layer::new(convolution, [input, hidden], device),
            norm: GroupNormConfig::new(4, hidden).init(device),
            second: Layer::new(convolution, [hidden, output], device),
        };
        let init = stream("base", device, dtype, seed);
        net.map(&mut Randomise { init, field: String::new() })
    }

    /// The same on a device with autodiff.
    pub(super) fn autodiff(self) -> Self {
        self.train()
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
        match &self.first.conv {
            None => INPUTS,
            Some(_) => CHANNELS * EXTENT * EXTENT,
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

/// Weights of variance 1/fan-in; vectors near what they start from in a norm.
struct Randomise {
    init: Init,
    field: String,
}

impl ModuleMapper for Randomise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let size = shape.num_elements();
        let fan_in = if D == 2 { shape[0] } else { size / shape[0] };
        let std = if D == 1 { 0.1 } else { 1.0 / (fan_in as f64).sqrt() };
        let noise = self.init.normal::<1>([size], std).reshape(shape);
        let mean = if self.field == "gamma" { 1.0 } else { 0.0 };
        param.map(|_| noise.add_scalar(mean))
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.field = name.into();
    }
}

/// An adapted network with its task.
pub(super) struct Adapted {
    pub model: Net,
    teacher: Net,
    /// Every adapted parameter with its frozen matrix.
    pub sites: Vec<(Site, Tensor<2>)>,
    seed: u64,
    /// Inputs and targets of the steps so far.
    batches: RefCell<Vec<[Tensor<2>; 2]>>,
}

impl Adapted {
    pub(super) fn new(base: Net, model: Net, seed: u64) -> Self {
        let (device, dtype) = (base.device(), base.dtype());
        let sites = slot::collect(&model).into_iter().map(|slot| slot.site);
        let found = higanbana_adapters::inject::sites(&base);
        let matrix = |site: &Site| {
            let same = |f: &&higanbana_adapters::inject::FoundSite| f.site == *site;
            found.iter().find(same).expect("the base has the parameters of the model").matrix()
        };
        let sites = sites.map(|site| (site.clone(), matrix(&site))).collect();
        let teacher = base.map(&mut Perturb { init: stream("teacher", &device, dtype, seed) });
        Self { model, teacher, sites, seed, batches: RefCell::default() }
    }

    /// Homogeneity of the adapter of each site.
    pub(super) fn degrees(&self) -> Vec<Degree> {
        slot::collect(&self.model).iter().map(|slot| slot.members[0].adapter.degree()).collect()
    }

    /// What replaces these $\gamma$, one for each site.
    pub(super) fn scalings(
        &self,
        rule: &'static Rule,
        gammas: &[f64],
    ) -> Result<Vec<Scaling>, ScalingError> {
        let scaling = |(degree, gamma): (_, &f64)| Scaling::for_gamma(&degree, rule, *gamma);
        self.degrees().into_iter().zip(gammas).map(scaling).collect()
    }

    /// The loss of a model on the batch of a step: its squared distance to the teacher.
    pub(super) fn loss(&self, model: &Net, step: usize) -> Tensor<1> {
        let [x, y] = self.batch(step).map(Tensor::from_inner);
        let size = y.shape().num_elements() as f64;
        (model.forward(x) - y).square().sum().mul_scalar(2.0 / size)
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

/// Another network near the first, for it to become.
struct Perturb {
    init: Init,
}

impl ModuleMapper for Perturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let size = shape.num_elements();
        let fan_in = if D == 2 { shape[0] } else { size / shape[0] };
        let std = if D == 1 { 0.3 } else { 0.7 / (fan_in as f64).sqrt() };
        let noise = self.init.normal::<1>([size], std).reshape(shape);
        param.map(|tensor| tensor + noise.clone())
    }
}

/// Seeded numbers by a name of their own.
pub(super) fn stream(name: &str, device: &Device, dtype: DType, seed: u64) -> Init {
    let site = Site::new(format!("gamma.{name}"), SiteKind::Linear, [1, 1]);
    let like = TensorData::new(vec![0.0f64], [1, 1]);
    Init::new(&site, Tensor::from_data(like, (device, dtype)), seed)
}
