//! How far a training is.

/// How far a training is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps asked for.
    pub of: usize,
    /// Loss of the last step.
    pub loss: f64,
    /// Batches of an epoch.
    pub batches: usize,
    /// Epochs begun.
    pub epochs: usize,
}
