//! Noise from seeds, the same on every device, or given.

use std::collections::VecDeque;

use burn::tensor::{Tensor, TensorData};
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};

/// A source of normal noise for each image of a batch, so that an image does not depend on how many
/// are made with it.
#[derive(Debug)]
pub struct Noise {
    sources: Vec<StdRng>,
    given: VecDeque<Tensor<4>>,
}

impl Noise {
    /// Sources for as many images: the seed, and those that follow.
    pub fn new(seed: u64, count: usize) -> Self {
        let seeds = (0..count as u64).map(|i| seed.wrapping_add(i));
        Self { sources: seeds.map(StdRng::seed_from_u64).collect(), given: VecDeque::new() }
    }

    /// First these, in their order.
    #[must_use]
    pub fn after(self, given: impl IntoIterator<Item = Tensor<4>>) -> Self {
        Self { given: given.into_iter().collect(), ..self }
    }

    /// Noise of unit variance and the shape of a tensor, the images its first dimension.
    ///
    /// # Panics
    /// When there are more images than sources.
    pub fn like(&mut self, like: &Tensor<4>) -> Tensor<4> {
        if let Some(given) = self.given.pop_front() {
            return given.to_device(&like.device()).cast(like.dtype());
        }
        let [count, channels, h, w] = like.dims();
        let each = channels * h * w;
        let mut values: Vec<f32> = Vec::with_capacity(count * each);
        for source in &mut self.sources[..count] {
            values.extend((0..each).map(|_| -> f32 { StandardNormal.sample(source) }));
        }
        let values = TensorData::new(values, [count, channels, h, w]);
        Tensor::<4>::from_data(values, &like.device()).cast(like.dtype())
    }
}
