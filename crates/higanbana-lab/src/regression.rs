//! A layer that is to become another: what adapters are trained on where the answer is known.
//!
//! A frozen weight $W_0$ and the goal $W_0 + D$, where $D = U \operatorname{diag}(\sigma) V^\top$ has random singular
//! vectors and the spectrum $\sigma_k \propto k^{-p}$. On batches of $b$ samples $x \sim \mathcal N(0, I)$
//! $$L = \tfrac1b \lVert (\Delta W - D) x \rVert_F^2, \qquad \mathbb E L = \lVert \Delta W - D \rVert_F^2,$$
//! so that the expected loss *is* the squared error of the update.

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor},
};
use higanbana_core::{
    Condition, Site, SiteKind,
    init::choose,
    spectrum::{self, SpectrumError, frobenius},
};

use crate::{gamma::Task, subject::stream_of};

/// Times of a training, as many as Stable Diffusion has.
const TIMES: usize = 1000;

/// From $W_0$ to $W_0 + D$.
pub(crate) struct Regression {
    pub site: Site,
    pub w0: Tensor<2>,
    /// $D$.
    pub change: Tensor<2>,
    /// $\sigma$.
    pub spectrum: Vec<f64>,
    /// $b$.
    pub batch: usize,
    pub seed: u64,
}

impl Regression {
    /// With the spectrum $k^{-p}$, $p$ = `decay`, and $\lVert D \rVert_F$ = `size`. That of $W_0$ is the root of its
    /// rows, in expectation.
    pub(crate) fn new(
        shape: [usize; 2],
        [decay, size]: [f64; 2],
        batch: usize,
        (device, dtype): (&Device, DType),
        seed: u64,
    ) -> Result<Self, SpectrumError> {
        let draw = |name, std| stream_of(name, device, dtype, seed).normal(shape, std);
        let w0 = draw("base", (shape[1] as f64).sqrt().recip());
        let mut change = spectrum::svd(&draw("change", 1.0))?;
        change.s = (1..=change.s.len()).map(|k| (k as f64).powf(-decay)).collect();
        let scale = size / spectrum::frobenius_norm(&change.s);
        change.s.iter_mut().for_each(|s| *s *= scale);
        Ok(Self {
            site: Site::new("layer", SiteKind::Linear, shape),
            change: change.matrix(device, dtype),
            w0,
            spectrum: change.s,
            batch,
            seed,
        })
    }

    /// The layer before it is trained.
    pub(crate) fn base(&self) -> Linear {
        let [rows, cols] = self.w0.dims();
        let linear = LinearConfig::new(cols, rows).with_bias(false);
        let weight = Param::from_tensor(self.w0.clone().transpose());
        Linear { weight, ..linear.init(&self.w0.device()) }
    }

    /// $\lVert \Delta W - D \rVert_F$.
    pub(crate) fn error(&self, model: &Linear) -> f64 {
        frobenius(&(model.valid().weight.val() - self.goal()))
    }

    /// What adapters are told of a step: a number from which nested ones draw what they train, and a time, drawn evenly
    /// of [`TIMES`], by which others leave ranks out. The task is the same at every time.
    pub(crate) fn condition(&self, step: usize) -> Condition {
        let place = Site::new(format!("lab.time {step}"), SiteKind::Linear, [1, 1]);
        let time = choose(&place, self.seed, TIMES);
        Condition { step: Some(step as u64), ..Condition::at([time as f64], TIMES as f64) }
    }

    /// $W_0 + D$ as a layer has it, `[in, out]`.
    fn goal(&self) -> Tensor<2> {
        (self.w0.clone() + self.change.clone()).transpose()
    }
}

impl Task for Regression {
    type Model = Linear;

    fn loss(&self, model: &Linear, step: usize) -> Tensor<1> {
        let (device, dtype) = (self.w0.device(), self.w0.dtype());
        let mut init = stream_of(&format!("batch {step}"), &device, dtype, self.seed);
        let x = init.normal([self.batch, self.w0.dims()[1]], 1.0);
        let y = x.clone().matmul(self.goal());
        let [x, y] = [x, y].map(Tensor::from_inner);
        (model.forward(x) - y).square().sum().div_scalar(self.batch as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_loss_is_the_squared_error() {
        let device = (&Device::default(), DType::F64);
        let task = Regression::new([6, 4], [1.0, 0.5], 4096, device, 0).unwrap();
        let base = task.base();
        let expected = task.error(&base).powi(2);
        assert!((expected - 0.25).abs() < 1e-12, "{expected}");
        let loss = task.loss(&base.train(), 3).to_data().iter::<f64>().sum::<f64>();
        assert!((loss / expected - 1.0).abs() < 0.05, "{loss} is not {expected}");
    }
}
