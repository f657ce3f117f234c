//! Why there is no scaling.

/// Why there is no scaling.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScalingError {
    /// $\gamma$ is no positive number.
    #[error("gamma is {0}: give a positive number")]
    Gamma(f64),
    /// $\gamma$ is 1.
    #[error("gamma is 1: there is nothing to compare, give another one")]
    One,
    /// Numbers of this size are lost in the element type.
    #[error(
        "gamma {gamma:e} is out of range for {dtype}: magnitudes down to {least:.1e} would occur, and \
         {dtype} holds none below {floor:.1e}; give a gamma nearer to 1{hint}"
    )]
    Range {
        /// $\gamma$.
        gamma: f64,
        /// The element type.
        dtype: &'static str,
        /// The smallest magnitude that would occur.
        least: f64,
        /// The smallest that is safe.
        floor: f64,
        /// What else would help.
        hint: &'static str,
    },
    /// The adapter has no degree.
    #[error(
        "no scaling of its tensors replaces gamma: {0}. What can be done: put gamma before a map inside \
         the update that has a degree, as `Degree::Inside`, or give every tensor an exponent of its own, as \
         `euler::exponents` finds them"
    )]
    NoDegree(String),
    /// The map that $\gamma$ multiplies does not change with the size of any tensor.
    #[error("degree 0: no scaling of the tensors replaces gamma")]
    DegreeZero,
    /// The tensors that could take up $\gamma$ are frozen.
    #[error(
        "no scaling of the trained tensors replaces gamma: {0} would have to take it up and is frozen"
    )]
    Frozen(String),
    /// The tensors that could take up $\gamma$ start from zeros, which the optimizer does not scale.
    #[error(
        "no scaling of the tensors replaces gamma under {optimizer}: {tensors} would have to take it up, but \
         starts from zeros, and {why}"
    )]
    ZeroStart {
        /// The optimizer.
        optimizer: &'static str,
        /// The tensors.
        tensors: String,
        /// What it does there.
        why: &'static str,
    },
    /// The optimizer has one number for tensors that need two.
    #[error(
        "no scaling of the tensors replaces gamma under {optimizer}: it has {what} for all tensors, and {} \
         needs it times {}, {} times {}",
        tensors[0], factors[0], tensors[1], factors[1]
    )]
    Shared {
        /// The optimizer.
        optimizer: &'static str,
        /// What its tensors share.
        what: &'static str,
        /// Two tensors that do not agree.
        tensors: [String; 2],
        /// What that number would have to be multiplied by for each.
        factors: [f64; 2],
    },
    /// The ratio of LoRA+ cannot be another one.
    #[error("no scaling of the tensors changes the ratio of learning rates: {0}")]
    Ratio(String),
    /// Alpha is not where the degree has $\gamma$.
    #[error("no scaling of the trained tensors replaces alpha: it multiplies {0}")]
    Alpha(String),
}
