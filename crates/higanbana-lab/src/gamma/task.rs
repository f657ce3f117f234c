//! What is trained: a model, its task, and the adapters in it.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use higanbana_adapters::{InjectError, Injection, inject};
use higanbana_core::{Degree, Init, Member, Registry, Site, SiteKind, Slot, slot};
use higanbana_train::{
    Rule, Scaling, ScalingError,
    scaling::{Layer, Sharing, is_power_of_two, judge},
};
use serde::Serialize;

use super::Start;

/// The network that is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Two layers and a nonlinearity, under one $\gamma$.
    Mlp,
    /// The UNet of Stable Diffusion, tiny; every layer has a $\gamma$ of its own.
    Unet,
}

impl Network {
    /// Name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Unet => "unet",
        }
    }

    /// Learning rate in units of the optimizer's own, where the trainings are `exact` or round. Many layers
    /// one behind the other move the output further than two do: steps overshoot, and rounding grows as
    /// chaos does.
    pub(super) fn rate(self, exact: bool) -> f64 {
        match (self, exact) {
            (Self::Mlp, _) | (Self::Unet, true) => 1.0,
            (Self::Unet, false) => 1.0 / 32.0,
        }
    }

    /// Factors $a_l$ of the layers, made from one: all the same, or powers of it. The powers are whole where
    /// it is a power of two, so that they are such as well; else no two of them are the same.
    pub(super) fn factors(self, a: f64, layers: usize) -> Vec<f64> {
        const POWERS: [f64; 4] = [1.0, -1.0, 2.0, -2.0];
        let own = |layer: usize| {
            let power = POWERS[layer % POWERS.len()];
            match is_power_of_two(a) {
                true => a.powi(power as i32),
                false => a.powf(power * (1.0 - 0.5 * layer as f64 / layers as f64)),
            }
        };
        match self {
            Self::Mlp => vec![a; layers],
            Self::Unet => (0..layers).map(own).collect(),
        }
    }
}

/// A model with something to learn.
pub(crate) trait Task {
    /// The model.
    type Model: Module;

    /// The loss of a model on the batch of a step.
    fn loss(&self, model: &Self::Model, step: usize) -> Tensor<1>;
}

/// An adapted model with its task.
pub(crate) struct Adapted<T: Task> {
    pub model: T::Model,
    pub task: T,
    /// Every adapted parameter with its frozen matrix.
    pub sites: Vec<(Site, Tensor<2>)>,
}

impl<T: Task> Adapted<T> {
    /// The model with adapters wherever they fit.
    pub(crate) fn new(
        base: &T::Model,
        task: T,
        registry: &Registry,
        injection: &Injection,
    ) -> Result<Self, InjectError> {
        let (model, _) = inject(&base.clone().train(), registry, injection)?;
        let found = higanbana_adapters::inject::sites(base);
        let matrix = |site: &Site| {
            let same = found.iter().find(|found| found.site == *site);
            same.expect("the base has the parameters of the model").matrix()
        };
        let sites = slot::collect(&model).into_iter().map(|slot| slot.site);
        let sites = sites.map(|site| (site.clone(), matrix(&site))).collect();
        Ok(Self { model, task, sites })
    }

    /// Where it is computed, and in which type.
    pub(super) fn options(&self) -> (Device, DType) {
        let w0 = &self.sites[0].1;
        (w0.device(), w0.dtype())
    }

    /// $\Delta W$ of all sites.
    pub(super) fn updates(&self, model: &T::Model) -> Vec<f64> {
        let slots = slot::collect(model);
        let updates = slots.into_iter().zip(&self.sites).map(|(slot, (site, w0))| {
            let Member { adapter, gamma, strength, .. } = &slot.members[0];
            let adapter = adapter.valid();
            let update = match gamma {
                Some(gamma) => adapter.update_gamma(site, w0, *gamma),
                None => adapter.update_at(site, w0, *strength),
            };
            update.try_into_vec_as::<f64>().expect("an update is a tensor of numbers")
        });
        updates.collect::<Vec<_>>().concat()
    }

    /// Homogeneity of the adapter of each site.
    pub(super) fn degrees(&self) -> Vec<Degree> {
        slot::collect(&self.model).iter().map(|slot| slot.members[0].adapter.degree()).collect()
    }

    /// What replaces $\gamma_l = a_l^{m_l}$ at each site, for adapters that start from there.
    pub(super) fn scalings(
        &self,
        rule: &'static Rule,
        factors: &[f64],
        start: Start,
    ) -> Result<Vec<Scaling>, ScalingError> {
        let layer = |(slot, a): (&Slot, &f64)| {
            let adapter = &slot.members[0].adapter;
            let layer = Layer::of(adapter, a.powi(total(&adapter.degree()) as i32));
            match start {
                Start::Own => layer,
                Start::Noise => Layer { zeros: Vec::new(), ..layer },
            }
        };
        let layers: Vec<Layer> =
            slot::collect(&self.model).iter().zip(factors).map(layer).collect();
        judge(&layers, rule, Sharing::Apart)
    }
}

/// $m$, 1 where there is none.
pub(super) fn total(degree: &Degree) -> u32 {
    match degree {
        Degree::Update(exponents) | Degree::Inside { exponents, .. } => {
            exponents.iter().map(|(_, d)| d).sum()
        }
        Degree::None { .. } => 1,
    }
}

/// Random weights, drawn on the host: of variance 1/fan-in, vectors near what they start from in a norm.
pub(super) fn randomise<M: Module>(model: M, init: Init) -> M {
    model.map(&mut Randomise { init, field: String::new() })
}

struct Randomise {
    init: Init,
    field: String,
}

impl ModuleMapper for Randomise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let size = shape.num_elements();
        let std = if D == 1 { 0.1 } else { fan_in(shape.as_slice()).sqrt().recip() };
        let noise = self.init.normal::<1>([size], std).reshape(shape);
        let mean = if self.field == "gamma" { 1.0 } else { 0.0 };
        param.map(|_| noise.add_scalar(mean))
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.field = name.into();
    }
}

/// Inputs of a neuron: a linear layer is stored `[in, out]`, a convolution `[out, in, kernel]`.
pub(super) fn fan_in(shape: &[usize]) -> f64 {
    let size: usize = shape.iter().product();
    (if shape.len() == 2 { shape[0] } else { size / shape[0] }) as f64
}

/// Seeded numbers by a name of their own.
pub(super) fn stream(name: &str, device: &Device, dtype: DType, seed: u64) -> Init {
    let like = TensorData::new(vec![0.0f64], [1, 1]);
    Init::new(&place(name), Tensor::from_data(like, (device, dtype)), seed)
}

/// Where such numbers belong.
pub(super) fn place(name: &str) -> Site {
    Site::new(format!("gamma.{name}"), SiteKind::Linear, [1, 1])
}
