//! What is minimised.
//!
//! For an image with latents $z$, at a time $t$ and with noise $n$, the model sees
//! $x_t = \sqrt{\bar\alpha_t} z + \sqrt{1-\bar\alpha_t} n$ and is to tell $n$, or the velocity
//! $\sqrt{\bar\alpha_t} n - \sqrt{1-\bar\alpha_t} z$. With $\ell$ the [`loss`] of each element and $w$ the
//! [`weight`] of each sample, what is minimised is the mean over the batch of
//! $w(t) \overline{\ell(\hat y - y)}$; [`noise`] says where $n$ comes from. Where a weight
//! $\lambda$ asks for it, $\lambda \sum_i \lVert P_i^\top P_i - I \rVert_F^2 + \lVert Q_i Q_i^\top - I \rVert_F^2$
//! of the adapters' factors is added.

pub mod loss;
pub mod noise;
pub mod weight;

use higanbana_diffusion::schedulers::{Prediction, SchedulerConfig};
use serde::{Deserialize, Serialize};

pub use loss::{HuberSchedule, Loss};
pub use noise::Multires;

/// What is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// What the model predicts; what it was trained to, if nothing is said.
    pub prediction: Option<Predicted>,
    /// Distance of prediction and target.
    pub loss: Loss,
    /// Where the Huber losses go from square to linear.
    pub huber_c: f64,
    /// How that depends on time.
    pub huber_schedule: HuberSchedule,
    /// Weights `min(SNR, γ)/SNR` (arXiv:2303.09556); the field's value is 5.
    pub min_snr_gamma: Option<f64>,
    /// Weights `1/√SNR` (arXiv:2310.08442).
    pub debiased: bool,
    /// Weights that make a velocity count as the noise that it means.
    pub scale_v_like_noise: bool,
    /// Noise with a mean of its own in each channel.
    pub noise_offset: f64,
    /// Draws the offset of each sample between 0 and that.
    pub noise_offset_random: bool,
    /// Adds as large a share of the mean magnitude of the latents to the offset.
    pub adaptive_noise: f64,
    /// Noise of several resolutions.
    pub multires: Option<Multires>,
    /// More noise in what the model sees than in what it is to tell (arXiv:2301.11706).
    pub input_perturbation: f64,
    /// Noise until nothing of the image is left (arXiv:2305.08891).
    pub zero_terminal_snr: bool,
    /// Weight of regularisation images.
    pub prior_weight: f64,
    /// Whether regularisation images are kept to what the frozen model predicts of them, instead of to
    /// the images.
    pub preserve_output: bool,
    /// Weight of how far the factors of each adapter are from orthogonal, where they are meant to be: added
    /// to the loss is that times the sum over all adapters.
    pub orthogonality: f64,
    /// The first time, and the one after the last.
    pub times: Option<[usize; 2]>,
}

impl Objective {
    /// The scheduler of a model that is trained so.
    pub fn scheduler(&self, own: &SchedulerConfig) -> SchedulerConfig {
        let prediction = self.prediction.map(Prediction::from);
        own.clone().trained(prediction, self.zero_terminal_snr)
    }
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Predicted {
    /// The noise.
    #[serde(rename = "epsilon")]
    Epsilon,
    /// The velocity.
    #[serde(rename = "v_prediction")]
    Velocity,
}

impl From<Predicted> for Prediction {
    fn from(predicted: Predicted) -> Self {
        match predicted {
            Predicted::Epsilon => Self::Epsilon,
            Predicted::Velocity => Self::Velocity,
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            prediction: None,
            loss: Loss::L2,
            huber_c: 0.1,
            huber_schedule: HuberSchedule::Snr,
            min_snr_gamma: None,
            debiased: false,
            scale_v_like_noise: false,
            noise_offset: 0.0,
            noise_offset_random: false,
            adaptive_noise: 0.0,
            multires: None,
            input_perturbation: 0.0,
            zero_terminal_snr: false,
            prior_weight: 1.0,
            preserve_output: false,
            orthogonality: 0.0,
            times: None,
        }
    }
}
