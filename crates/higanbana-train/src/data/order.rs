//! Which images the batches have: the same for the same seed, whatever happened before.

use rand::seq::SliceRandom;

use crate::random::stream;

/// The order of samples. Every epoch has each image as often as it counts, in batches of one shape; both
/// the images of a shape and the batches are shuffled.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    batch: usize,
    /// The samples of each shape.
    shapes: Vec<Vec<usize>>,
    /// The last epoch that was asked for.
    epoch: Option<(usize, Vec<Vec<usize>>)>,
}

impl Order {
    /// Samples by shape, each the number of an image, for batches of `batch` of them at most.
    pub fn new(seed: u64, batch: usize, shapes: Vec<Vec<usize>>) -> Self {
        Self { seed, batch, shapes, epoch: None }
    }

    /// Number of batches of an epoch.
    pub fn batches(&self) -> usize {
        self.shapes.iter().map(|samples| samples.len().div_ceil(self.batch)).sum()
    }

    /// Number of samples of an epoch.
    pub fn samples(&self) -> usize {
        self.shapes.iter().map(Vec::len).sum()
    }

    /// The images of a batch, counted from the first epoch on.
    pub fn batch(&mut self, number: usize) -> Vec<usize> {
        let (epoch, within) = (number / self.batches(), number % self.batches());
        let batches = match self.epoch.take() {
            Some((known, batches)) if known == epoch => batches,
            _ => self.shuffled(epoch),
        };
        let batch = batches[within].clone();
        self.epoch = Some((epoch, batches));
        batch
    }

    fn shuffled(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut rng = stream(self.seed, "order", epoch as u64);
        let mut batches = Vec::new();
        for samples in &self.shapes {
            let mut samples = samples.clone();
            samples.shuffle(&mut rng);
            batches.extend(samples.chunks(self.batch).map(<[usize]>::to_vec));
        }
        batches.shuffle(&mut rng);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_sample_once_and_batches_of_one_shape() {
        let shapes = vec![vec![0, 0, 1, 2, 3], vec![7, 8]];
        let mut order = Order::new(3, 2, shapes);
        assert_eq!((order.batches(), order.samples()), (4, 7));
        let batches: Vec<_> = (0..8).map(|number| order.batch(number)).collect();
        for epoch in batches.chunks(4) {
            let mut samples = epoch.concat();
            samples.sort_unstable();
            assert_eq!(samples, [0, 0, 1, 2, 3, 7, 8]);
            assert!(epoch.iter().all(|b| b.iter().all(|&i| i < 7) || b.iter().all(|&i| i >= 7)));
        }
        assert_ne!(batches[..4], batches[4..], "epochs differ");

        // Asked out of turn, as after a stop, it is the same.
        let mut later = Order::new(3, 2, vec![vec![0, 0, 1, 2, 3], vec![7, 8]]);
        assert_eq!(later.batch(6), batches[6]);
        assert_eq!(later.batch(1), batches[1]);
        let mut other = Order::new(4, 2, vec![vec![0, 0, 1, 2, 3], vec![7, 8]]);
        assert_ne!((0..8).map(|number| other.batch(number)).collect::<Vec<_>>(), batches);
    }
}
