//! The UNet of Stable Diffusion in a tiny configuration, told to find the noise in random latents.

use std::{cell::RefCell, path::Path};

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::init::choose;
use higanbana_diffusion::{
    UNet2DConditionModel, UNetConfig, config::Fields, schedulers::NoiseSchedule,
};

use super::task::{Task, place, randomise, stream};

/// SD 1's layout with 16 and 32 channels: the one that is compared with diffusers.
const CONFIG: &str = include_str!("../../../../tests/reference/diffusion/unet_sd1/config.json");
/// Samples of a batch.
const BATCH: usize = 2;
/// Height and width of the latents.
const EXTENT: usize = 4;
/// Tokens of the text.
const TOKENS: usize = 5;

/// The model, its weights drawn on the host. Of the three resolutions of the configuration the middle one,
/// which has what the others have, is left out.
pub(super) fn unet(device: &Device, dtype: DType, seed: u64) -> UNet2DConditionModel {
    let device = &device.clone().inner();
    let fields = Fields::parse(Path::new("config.json"), CONFIG);
    let config = fields.and_then(UNetConfig::from_fields);
    let mut config = config.expect("the committed file is valid");
    config.levels.remove(1);
    randomise(UNet2DConditionModel::new(&config, device), stream("unet", device, dtype, seed))
}

/// To tell the noise, $\lVert \epsilon_\theta(x_t, t, c) - \epsilon \rVert^2$ with
/// $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon$, on new latents, noise, times and
/// text at each step (arXiv:2006.11239).
pub(super) struct Denoising {
    device: Device,
    dtype: DType,
    seed: u64,
    channels: usize,
    context: usize,
    schedule: NoiseSchedule,
    /// Those of the steps so far.
    batches: RefCell<Vec<Batch>>,
}

#[derive(Clone)]
struct Batch {
    noised: Tensor<4>,
    times: Tensor<1>,
    context: Tensor<3>,
    noise: Tensor<4>,
}

impl Denoising {
    pub(super) fn new(
        model: &UNet2DConditionModel,
        device: &Device,
        dtype: DType,
        seed: u64,
    ) -> Self {
        Self {
            device: device.clone().inner(),
            dtype,
            seed,
            channels: model.config().in_channels,
            context: model.config().levels[0].context,
            schedule: NoiseSchedule::stable_diffusion(),
            batches: RefCell::default(),
        }
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
        let times: [usize; BATCH] = std::array::from_fn(time);
        let share = |index: usize| {
            let shares = times.map(|time| self.schedule.shares(time)[index]);
            Tensor::<1>::from_data(shares, (&self.device, self.dtype)).reshape([BATCH, 1, 1, 1])
        };
        let latents = [BATCH, self.channels, EXTENT, EXTENT];
        let image = init.normal::<4>(latents, 1.0);
        let noise = init.normal::<4>(latents, 1.0);
        Batch {
            noised: image * share(0) + noise.clone() * share(1),
            times: Tensor::from_data(times.map(|time| time as f64), (&self.device, self.dtype)),
            context: init.normal([BATCH, TOKENS, self.context], 1.0),
            noise,
        }
    }
}

impl Task for Denoising {
    type Model = UNet2DConditionModel;

    fn loss(&self, model: &UNet2DConditionModel, step: usize) -> Tensor<1> {
        let Batch { noised, times, context, noise } = self.batch(step);
        let [noised, noise] = [noised, noise].map(Tensor::from_inner);
        let (times, context) = (Tensor::from_inner(times), Tensor::from_inner(context));
        (model.forward(noised, times, context, None) - noise).square().mean()
    }
}
