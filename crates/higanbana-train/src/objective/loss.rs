//! The loss of each element, $\ell(d)$ of $d = \hat y - y$.
//!
//! | name | $\ell(d)$ |
//! |---|---|
//! | `l2` | $d^2$ |
//! | `l1` | $\lvert d \rvert$ |
//! | `huber` | $2c (\sqrt{d^2 + c^2} - c)$ |
//! | `smooth_l1` | $2 (\sqrt{d^2 + c^2} - c)$ |
//!
//! The last two are squares for small $d$ and linear for large ones (arXiv:2403.16728). Their $c$ may depend
//! on the time: with $h$ the setting, $\sigma^2 = (1-\bar\alpha)/\bar\alpha$ and $T$ times,
//!
//! | schedule | $c(t)$ |
//! |---|---|
//! | `constant` | $h$ |
//! | `exponential` | $h^{t/T}$ |
//! | `snr` | $(1-h)/(1+\sigma)^2 + h$ |

use burn::tensor::{Tensor, TensorData};
use higanbana_diffusion::schedulers::NoiseSchedule;
use serde::{Deserialize, Serialize};

use super::Objective;

/// Distance of prediction and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The square.
    #[default]
    L2,
    /// The magnitude.
    L1,
    /// Pseudo-Huber, as steep as the square near 0.
    Huber,
    /// Pseudo-Huber, as steep as twice the magnitude far from 0.
    SmoothL1,
}

/// How the threshold of the Huber losses depends on time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HuberSchedule {
    /// Not at all.
    Constant,
    /// From 1 at the first time to the setting at the last.
    Exponential,
    /// With the ratio of signal to noise.
    #[default]
    Snr,
}

impl Objective {
    /// The threshold $c$ of the Huber losses at a time.
    pub fn threshold(&self, schedule: &NoiseSchedule, time: usize) -> f64 {
        let h = self.huber_c;
        match self.huber_schedule {
            HuberSchedule::Constant => h,
            HuberSchedule::Exponential => h.powf(time as f64 / schedule.len() as f64),
            HuberSchedule::Snr => {
                let alpha = schedule.alpha(time);
                let sigma = ((1.0 - alpha) / alpha).sqrt();
                (1.0 - h) / (1.0 + sigma).powi(2) + h
            }
        }
    }

    /// The mean loss of each sample, `[batch]`; where there is a mask, the mean of its product with that,
    /// over the whole image, as kohya's trainers have it.
    pub fn losses(
        &self,
        predicted: Tensor<4>,
        target: Tensor<4>,
        mask: Option<&Tensor<4>>,
        schedule: &NoiseSchedule,
        times: &[usize],
    ) -> Tensor<1> {
        let difference = predicted - target;
        let loss = match self.loss {
            Loss::L2 => difference.square(),
            Loss::L1 => difference.abs(),
            Loss::Huber | Loss::SmoothL1 => {
                let c: Vec<f32> =
                    times.iter().map(|&time| self.threshold(schedule, time) as f32).collect();
                let c = TensorData::new(c, [times.len(), 1, 1, 1]);
                let c = Tensor::<4>::from_data(c, (&difference.device(), difference.dtype()));
                let root = (difference.square() + c.clone().square()).sqrt() - c.clone();
                let steepness = if self.loss == Loss::Huber { c } else { c.ones_like() };
                root * steepness.mul_scalar(2.0)
            }
        };
        let loss = match mask {
            Some(mask) => loss * mask.clone(),
            None => loss,
        };
        loss.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1)
    }
}
