//! Which ranks act on which sample of a batch.

use burn::tensor::{Tensor, TensorData};
use higanbana_core::Condition;

use super::RankSchedule;

/// The number of ranks that act: of every sample, or one for all; none where every rank acts.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    rank: usize,
    active: Vec<usize>,
}

impl Masks {
    /// Of `rank` ranks at the timesteps of a condition.
    pub fn new(schedule: RankSchedule, rank: usize, condition: &Condition) -> Self {
        let active = |t: &f64| schedule.active(rank, *t, condition.horizon);
        let mut active: Vec<usize> = condition.timesteps.iter().map(active).collect();
        if active.iter().all(|ranks| *ranks == active[0]) {
            active.truncate(1);
        }
        Self { rank, active }
    }

    /// Whether one serves all samples.
    pub fn is_one(&self) -> bool {
        self.active.len() <= 1
    }

    /// A factor `[rows, r]`, or several side by side, with the columns of the ranks that act.
    ///
    /// # Panics
    /// When samples differ.
    pub fn apply(&self, factor: Tensor<2>) -> Tensor<2> {
        assert!(
            self.is_one(),
            "the samples of the batch act with {:?} ranks and share no weight: use layers that take \
             an adapter's shortcut, or one timestep for each call",
            self.active
        );
        match self.each(factor.dims()[1], &factor) {
            None => factor,
            Some(mask) => factor * mask,
        }
    }

    /// `[samples or 1, width]`: ones where a rank acts, the ranks side by side again and again. Of the
    /// type and on the device of `like`.
    pub fn each(&self, width: usize, like: &Tensor<2>) -> Option<Tensor<2>> {
        let mask = |&active: &usize| (0..width).map(move |i| f64::from(i % self.rank < active));
        let masks: Vec<f64> = self.active.iter().flat_map(mask).collect();
        let data = TensorData::new(masks, [self.active.len(), width]);
        let options = (&like.device(), like.dtype());
        (!self.active.is_empty()).then(|| Tensor::from_data(data, options))
    }
}
