//! From noise to a sample, in steps: diffusers' schedulers, to its numbers.
//!
//! A model was trained to tell the noise in $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1-\bar\alpha_t} n$.
//! A scheduler says at which times it is asked and how a sample follows from its answers. Each step is
//! a sum of tensors with coefficients that are known beforehand; the coefficients are
//! computed on the host.
//!
//! | name | diffusers | paper |
//! |---|---|---|
//! | `ddpm` | `DDPMScheduler` | arXiv:2006.11239 |
//! | `ddim` | `DDIMScheduler` | arXiv:2010.02502 |
//! | `pndm` | `PNDMScheduler` | arXiv:2202.09778 |
//! | `euler` | `EulerDiscreteScheduler` | arXiv:2206.00364 |
//! | `euler_a` | `EulerAncestralDiscreteScheduler` | the same, with noise |
//! | `heun` | `HeunDiscreteScheduler` | the same, of order two |
//! | `dpmpp_2m`, `dpmpp_2m_karras` | `DPMSolverMultistepScheduler` | arXiv:2211.01095 |
//! | `dpmpp_2m_sde` | the same with `sde-dpmsolver++` | the same, with noise |
//! | `dpmpp_3m_sde` | none that is right; k-diffusion's `sample_dpmpp_3m_sde` | the same, of order three |
//! | `dpmpp_sde` | `DPMSolverSDEScheduler` | the same, of one step |
//! | `unipc` | `UniPCMultistepScheduler` | arXiv:2302.04867 |
//! | `lcm` | `LCMScheduler` | arXiv:2310.04378 |

mod config;
mod ddim;
mod ddpm;
mod dpmpp;
mod dpmpp_3m;
mod dpmpp_sde;
mod euler;
mod guidance;
mod heun;
mod lcm;
mod noise;
mod pndm;
mod sigmas;
mod spread;
mod unipc;

use burn::tensor::Tensor;

pub use config::SchedulerConfig;
use config::Settings;
pub use guidance::guide;
pub use noise::{NoiseSchedule, Prediction};
pub use spread::Sigmas;

use crate::ModelError;

/// Where the noise of a step comes from: called once for each tensor of noise, with a tensor of the
/// shape, type and device that it must have.
pub type NoiseSource<'a> = &'a mut dyn FnMut(&Tensor<4>) -> Tensor<4>;

/// How a sample is had in steps. It is made for one pass, from the first step, or a later one, on.
pub trait Scheduler: std::fmt::Debug + Send {
    /// The time of each step, at which the model is asked.
    fn times(&self) -> &[f64];

    /// How often the model is asked for each step that was asked for; of the last perhaps once less.
    fn calls(&self) -> usize {
        1
    }

    /// Standard deviation of the noise that the first step begins with.
    fn initial_deviation(&self) -> f64 {
        1.0
    }

    /// The sample as the model is to be shown it.
    fn shown(&self, sample: Tensor<4>, _step: usize) -> Tensor<4> {
        sample
    }

    /// The sample after a step, given what the model said of the sample before.
    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: NoiseSource,
    ) -> Tensor<4>;

    /// An image with as much noise as a sample has before a step.
    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4>;
}

/// Makes a scheduler of a number of steps.
type Make = fn(Settings, usize) -> Result<Box<dyn Scheduler>, ModelError>;

struct Kind {
    name: &'static str,
    class: &'static str,
    spread: Spread,
    make: Make,
}

/// Whether the levels of noise can be spread otherwise than the times of training are.
#[derive(Clone, Copy, PartialEq)]
enum Spread {
    Fixed,
    Free,
    Always(Sigmas),
}

impl Kind {
    const fn new(name: &'static str, class: &'static str, spread: Spread, make: Make) -> Self {
        Self { name, class, spread, make }
    }
}

const KARRAS: Spread = Spread::Always(Sigmas::Karras);
const KINDS: [Kind; 13] = [
    Kind::new("ddpm", "DDPMScheduler", Spread::Fixed, ddpm::make),
    Kind::new("ddim", "DDIMScheduler", Spread::Fixed, ddim::make),
    Kind::new("pndm", "PNDMScheduler", Spread::Fixed, pndm::make),
    Kind::new("euler", "EulerDiscreteScheduler", Spread::Free, euler::make),
    Kind::new("euler_a", "EulerAncestralDiscreteScheduler", Spread::Fixed, euler::make_ancestral),
    Kind::new("heun", "HeunDiscreteScheduler", Spread::Free, heun::make),
    Kind::new("dpmpp_2m", "DPMSolverMultistepScheduler", Spread::Free, dpmpp::make),
    Kind::new("dpmpp_2m_karras", "", KARRAS, dpmpp::make),
    Kind::new("dpmpp_2m_sde", "", Spread::Free, dpmpp::make_sde),
    Kind::new("dpmpp_3m_sde", "", Spread::Free, dpmpp_3m::make),
    Kind::new("dpmpp_sde", "DPMSolverSDEScheduler", Spread::Free, dpmpp_sde::make),
    Kind::new("unipc", "UniPCMultistepScheduler", Spread::Free, unipc::make),
    Kind::new("lcm", "LCMScheduler", Spread::Fixed, lcm::make),
];

/// The names of all schedulers.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The name of the model's own scheduler, if it is built.
pub fn own(config: &SchedulerConfig) -> Option<&'static str> {
    let class = config.class()?;
    KINDS.iter().find(|kind| !kind.class.is_empty() && kind.class == class).map(|kind| kind.name)
}

/// The scheduler of this name, or the model's own, with as many steps, its levels of noise spread in
/// this way, or as the configuration has it.
///
/// The model's configuration is read as diffusers' `X.from_config` reads it: fields that the
/// scheduler shares with the model's own are carried over, and where the file is silent, the
/// scheduler's defaults hold.
///
/// # Errors
/// When there is no such scheduler, its levels cannot be spread so, the configuration asks for
/// something that is not built, or the number of steps cannot be had.
pub fn scheduler(
    name: Option<&str>,
    sigmas: Option<Sigmas>,
    config: &SchedulerConfig,
    steps: usize,
) -> Result<Box<dyn Scheduler>, ModelError> {
    let known = || names().collect::<Vec<_>>().join(", ");
    let name = match name {
        Some(name) => name,
        None => own(config).ok_or_else(|| {
            let class = config.class().unwrap_or_default();
            let reason = format!("the model's own, {class:?}, is not built; choose {}", known());
            ModelError::input("scheduler", reason)
        })?,
    };
    let kind = KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        ModelError::input("scheduler", format!("{name} is unknown; there are {}", known()))
    })?;
    if steps == 0 {
        return Err(ModelError::input("steps", "are 0; at least one is needed"));
    }
    let sigmas = match (kind.spread, sigmas) {
        (Spread::Free, sigmas) => sigmas,
        (Spread::Always(own), None) => Some(own),
        (Spread::Fixed, None) => None,
        (_, Some(_)) => {
            let free = KINDS.iter().filter(|kind| kind.spread == Spread::Free);
            let free: Vec<&str> = free.map(|kind| kind.name).collect();
            let reason = format!("are those of {name}; they are free for {}", free.join(", "));
            return Err(ModelError::input("sigmas", reason));
        }
    };
    let mut settings = config.settings();
    sigmas.into_iter().for_each(|sigmas| settings.spread(sigmas));
    (kind.make)(settings, steps)
}

/// $\sum_i c_i x_i$, without the terms whose coefficient is 0.
pub(crate) fn combine<const N: usize>(terms: [(f64, Tensor<4>); N]) -> Tensor<4> {
    let zero = terms[0].1.clone();
    let terms = terms.into_iter().filter(|(c, _)| *c != 0.0).map(|(c, x)| match c {
        1.0 => x,
        c => x.mul_scalar(c),
    });
    terms.reduce(|sum, term| sum + term).unwrap_or_else(|| zero.zeros_like())
}
