//! The UNet of Stable Diffusion in a tiny configuration, told to find the noise in random latents.

use std::{cell::RefCell, path::Path};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{Condition, init::choose};
use higanbana_diffusion::{
    UNet2DConditionModel, UNetConfig, config::Fields, schedulers::NoiseSchedule,
};

use super::task::{Task, place, randomise, stream};

/// SD 1's layout with 16 and 32 channels: the one that is compared with diffusers.
const CONFIG: &str = include_str!("../../../../tests/reference/diffusion/unet_sd1/config.json");
/// Samples of a batch, where nothing else is said.
const BATCH: usize = 2;
/// Height and width of the latents.
const EXTENT: usize = 4;
/// Tokens of the text.
const TOKENS: usize = 5;

/// The model, its weights drawn on the host. Of the three resolutions of the configuration the middle one,
/// which has what the others have, is left out.
pub(crate) fn unet(device: &Device, dtype: DType, seed: u64) -> UNet2DConditionModel {
    let device = &device.clone().inner();
    let fields = Fields::parse(Path::new("config.json"), CONFIG);
    let config = fields.and_then(UNetConfig::from_fields);
    let mut config = config.expect("the committed file is valid");
    config.levels.remove(1);
    randomise(UNet2DConditionModel::new(&config, device), stream("unet", device, dtype, seed))
}

/// To tell the noise, $\lVert \epsilon_\theta(x_t, t, c) - \epsilon \rVert^2$ with
/// $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$, on new latents, noise, times and
/// text at each step (arXiv:2006.11239).
pub(crate) struct Denoising {
    device: Device,
    dtype: DType,
    seed: u64,
    batch: usize,
    channels: usize,
    context: usize,
    schedule: NoiseSchedule,
    /// Those of the steps so far.
    batches: RefCell<Vec<Batch>>,
}

#[derive(Clone)]
struct Batch {
    timesteps: Vec<f64>,
    noised: Tensor<4>,
    times: Tensor<1>,
    context: Tensor<3>,
    noise: Tensor<4>,
}

impl Denoising {
    pub(crate) fn new(
        model: &UNet2DConditionModel,
        device: &Device,
        dtype: DType,
        seed: u64,
    ) -> Self {
        Self {
            device: device.clone().inner(),
            dtype,
            seed,
            batch: BATCH,
            channels: model.config().in_channels,
            context: model.config().levels[0].context,
            schedule: NoiseSchedule::stable_diffusion(),
            batches: RefCell::default(),
        }
    }

    /// The same with batches of this many samples.
    pub(crate) fn batches_of(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// What adapters are told of a step: the times of its samples, and a number from which nested ones draw what they
    /// train.
    pub(crate) fn condition(&self, step: usize) -> Condition {
        let horizon = self.schedule.len() as f64;
        Condition { step: Some(step as u64), ..Condition::at(self.batch(step).timesteps, horizon) }
    }

    fn batch(&self, step: usize) -> Batch {
        let mut batches = self.batches.borrow_mut();
        for step in batches.len()..=step {
            batches.push(self.draw(step));
        }
        batches[step].clone()
    }

    fn draw(&self, step: usize) -> Batch {
        let mut init = stream(&format!("batch {step}"), &self.device, self.dtype, self.seed);
        let time = |sample| {
            let place = place(&format!("time {sample} {step}"));
            choose(&place, self.seed, self.schedule.len())
        };
        let times: Vec<usize> = (0..self.batch).map(time).collect();
        let numbers = |of: &dyn Fn(usize) -> f64| {
            let numbers: Vec<f64> = times.iter().map(|time| of(*time)).collect();
            Tensor::<1>::from_data(numbers.as_slice(), (&self.device, self.dtype))
        };
        let share = |index: usize| {
            numbers(&|time| self.schedule.shares(time)[index]).reshape([self.batch, 1, 1, 1])
        };
        let latents = [self.batch, self.channels, EXTENT, EXTENT];
        let image = init.normal::<4>(latents, 1.0);
        let noise = init.normal::<4>(latents, 1.0);
        Batch {
            noised: image * share(0) + noise.clone() * share(1),
            timesteps: times.iter().map(|time| *time as f64).collect(),
            times: numbers(&|time| time as f64),
            context: init.normal([self.batch, TOKENS, self.context], 1.0),
            noise,
        }
    }
}

impl Task for Denoising {
    type Model = UNet2DConditionModel;

    fn loss(&self, model: &UNet2DConditionModel, step: usize) -> Tensor<1> {
        let Batch { noised, times, context, noise, .. } = self.batch(step);
        let [noised, noise] = [noised, noise].map(Tensor::from_inner);
        let (times, context) = (Tensor::from_inner(times), Tensor::from_inner(context));
        (model.forward(noised, times, context, None) - noise).square().mean()
    }
}
