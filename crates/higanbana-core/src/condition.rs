//! What an adapter may be told before a forward pass.

/// The circumstances of a forward pass on which an update may depend.
///
/// Handed to every adapter of a model with [`crate::slot::condition`]; most ignore it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// Diffusion timestep of each sample of the batch; one entry serves the whole batch.
    pub timesteps: Vec<f64>,
    /// Number of training timesteps $T$.
    pub horizon: f64,
    /// Nested adapters act with this prefix of their rank; `None` is the full rank.
    pub rank: Option<usize>,
    /// Seed of a training step: what it [leaves out](crate::training), and which prefix nested adapters
    /// train, is drawn from it. `None` outside of training.
    pub step: Option<u64>,
}

impl Condition {
    /// Denoising at these timesteps of a schedule of length `horizon`.
    pub fn at(timesteps: impl Into<Vec<f64>>, horizon: f64) -> Self {
        Self { timesteps: timesteps.into(), horizon, ..Self::default() }
    }

    /// Acting with a prefix of the rank.
    pub fn with_rank(rank: usize) -> Self {
        Self { rank: Some(rank), ..Self::default() }
    }
}
