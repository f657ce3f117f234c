//! A real update: what training a small network further, on another task, adds to one of its layers.
//!
//! The network $y = V \tanh(U x)$ is trained on the labels of one random network of its own shape, and then on
//! those of a second one near the first; the difference of $U$ is the update. The committed file holds it for the
//! seeds of the experiment, and [`train`] makes it again.

use burn::{
    module::{Module, Param},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Tensor, TensorData},
};
use higanbana_core::Init;
use serde::Deserialize;

use crate::{experiment::Failure, subject::stream};

/// Steps of each training, samples of a batch.
const STEPS: usize = 300;
const BATCH: usize = 64;

/// The committed differences, `[n, n]` row-major, by seed.
#[derive(Deserialize)]
struct Committed {
    size: usize,
    differences: Vec<Vec<f64>>,
}

#[derive(Module, Debug)]
struct Net {
    u: Param<Tensor<2>>,
    v: Param<Tensor<2>>,
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.u.val().transpose()).tanh().matmul(self.v.val().transpose())
    }
}

/// The difference of this size and seed: a committed one, or trained here.
pub(super) fn difference(n: usize, seed: u64, device: &Device) -> Result<Tensor<2>, Failure> {
    let text = include_str!("../../../../experiments/03-expressivity/trained.json");
    let committed: Committed = serde_json::from_str(text)?;
    match committed.differences.get(seed as usize).filter(|_| committed.size == n) {
        None => Ok(train(n, seed, device)),
        Some(entries) => {
            let data = TensorData::new(entries.clone(), [n, n]);
            Ok(Tensor::from_data(data, (device, burn::tensor::DType::F64)))
        }
    }
}

/// Trains, and trains further.
pub fn train(n: usize, seed: u64, device: &Device) -> Tensor<2> {
    let mut init = stream("trained", device, seed);
    let std = (n as f64).sqrt().recip();
    let first = [init.normal([n, n], std), init.normal([n, n], std)];
    let second = first.clone().map(|weight| weight + init.normal([n, n], 0.5 * std));
    let start = Net {
        u: Param::from_tensor(init.normal([n, n], std)),
        v: Param::from_tensor(init.normal([n, n], std)),
    };
    let before = fit(start.train(), &first, &mut init);
    let after = fit(before.clone(), &second, &mut init);
    after.u.val().inner() - before.u.val().inner()
}

fn fit(mut net: Net, [u, v]: &[Tensor<2>; 2], init: &mut Init) -> Net {
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..STEPS {
        let x = init.normal([BATCH, u.dims()[1]], 1.0);
        let y = x.clone().matmul(u.clone().transpose()).tanh().matmul(v.clone().transpose());
        let loss = (net.forward(x.autodiff()) - y.autodiff()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-2, net, gradients);
    }
    net
}
