//! Initial values: seeded, in the base weight's dtype, on its device.

use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};

use crate::Site;

/// Where an adapter's initial values come from: the frozen weight and a seeded stream of numbers.
///
/// The stream is drawn on the host, so that every backend starts from the same bits, and depends on
/// the seed and the site's path alone, so that neither the order of layers nor threads change it.
pub struct Init {
    weight: Tensor<2>,
    rng: StdRng,
}

impl Init {
    /// Initial values for `site`, whose frozen weight is `weight`: `[out, in·K]`. At a site whose path is
    /// no layer's they are what several layers share.
    pub fn new(site: &Site, weight: Tensor<2>, seed: u64) -> Self {
        Self { weight, rng: stream(&site.path, seed) }
    }

    /// The frozen weight `[out, in·K]`.
    pub fn weight(&self) -> &Tensor<2> {
        &self.weight
    }

    /// Device of the frozen weight.
    pub fn device(&self) -> Device {
        self.weight.device()
    }

    /// Element type of the frozen weight.
    pub fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// All zeros.
    pub fn zeros<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::zeros(shape, (&self.device(), self.dtype()))
    }

    /// All ones.
    pub fn ones<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::ones(shape, (&self.device(), self.dtype()))
    }

    /// Normal with mean 0 and the given standard deviation.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], std: f64) -> Tensor<D> {
        self.draw(shape, |rng| {
            let x: f64 = StandardNormal.sample(rng);
            x * std
        })
    }

    /// Uniform in ±1/√`fan_in`: PyTorch's `kaiming_uniform_(a=√5)`, the initial value of its layers.
    pub fn kaiming_uniform<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
    ) -> Tensor<D> {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        self.draw(shape, |rng| rng.random_range(-bound..bound))
    }

    fn draw<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut sample: impl FnMut(&mut StdRng) -> f64,
    ) -> Tensor<D> {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| sample(&mut self.rng)).collect();
        Tensor::from_data(
            TensorData::new(values, Shape::from(shape)),
            (&self.device(), self.dtype()),
        )
    }
}

/// One of `0..n`, equally likely, from the seed and the site's path alone.
///
/// # Panics
/// When `n` is 0.
pub fn choose(site: &Site, seed: u64, n: usize) -> usize {
    stream(&site.path, seed).random_range(0..n)
}

/// A stream of numbers that depends on a name and a seed alone.
pub(crate) fn stream(name: &str, seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ fnv1a(name))
}

/// FNV-1a: a hash that is the same on every platform and release, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
