//! The weight of a sample, by the ratio of signal to noise at its time, $s = \bar\alpha/(1-\bar\alpha)$.
//!
//! | setting | a model of the noise | a model of the velocity |
//! |---|---|---|
//! | `min_snr_gamma` $\gamma$ | $\min(s, \gamma)/s$ | $\min(s, \gamma)/(s+1)$ |
//! | `scale_v_like_noise` | – | $s/(s+1)$ |
//! | `debiased` | $1/\sqrt{\min(s, 1000)}$ | $1/(\min(s, 1000)+1)$ |
//!
//! They multiply. The ratio is that of the schedule in use; kohya takes that from before
//! `zero_terminal_snr`.

use higanbana_diffusion::schedulers::Prediction;

use super::Objective;

impl Objective {
    /// The weight of a sample at a ratio of signal to noise.
    pub fn weight(&self, prediction: Prediction, snr: f64) -> f64 {
        let velocity = prediction == Prediction::Velocity;
        let mut weight = 1.0;
        if let Some(gamma) = self.min_snr_gamma {
            weight *= snr.min(gamma) / if velocity { snr + 1.0 } else { snr };
        }
        if self.scale_v_like_noise && velocity {
            weight *= snr / (snr + 1.0);
        }
        if self.debiased {
            let snr = snr.min(1000.0);
            weight /= if velocity { snr + 1.0 } else { snr.sqrt() };
        }
        weight
    }
}
