//! Options of training that every algorithm has: what a step leaves out, and how far an update may
//! grow.
//!
//! In the forward passes of one training step, with $T_R(\mu)$ the update at strength $\mu$ whose rank
//! axis is weighted by $R$,
//!
//! $$W = W_0 + g \operatorname{diag}(o) T_R(\mu)$$
//!
//! ```text
//! module_dropout  g  one number  0 with this probability p, else 1
//! dropout         o  [out]       0 with this probability p, else 1/(1−p)
//! rank_dropout    R  [r]         0 with this probability p, else 1, or 1/(1−p) with rank_dropout_scale
//! ```
//!
//! An adapter without a rank axis has $R$ on its output, as a further factor of $o$. One draw serves a
//! whole forward pass, as one weight does, so that both forward paths compute the same; the frozen
//! layer's own output is never dropped. Draws follow from the seed of the step, the name of the set
//! and the path of the layer; outside of training nothing is left out.
//!
//! `max_norm`, $b$, bounds $\lVert \Delta W \rVert_F$ after a step by scaling the trained tensors evenly:
//! for an update of degree $m$ each by $(b / \lVert \Delta W \rVert_F)^{1/m}$.
//!
//! LyCORIS's options of these names, which there depend on the path: `dropout` acts on features and
//! only in bypass, `rank_dropout` masks rows where it should mask ranks.

use burn::{module::Param, tensor::Tensor};
use rand::{RngExt, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{AdapterError, Site, init};

/// Options of training; see the [module](self). By default nothing is dropped or bounded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Probability with which an output of the adapter is silent.
    pub dropout: f64,
    /// Probability with which a rank is silent.
    pub rank_dropout: f64,
    /// Divides the ranks that act by the probability that they do.
    pub rank_dropout_scale: bool,
    /// Probability with which the adapter is silent.
    pub module_dropout: f64,
    /// Largest $\lVert \Delta W \rVert_F$.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_norm: Option<f64>,
}

impl Training {
    /// Names of the options, with what they mean.
    pub const OPTIONS: [(&'static str, &'static str); 5] = [
        ("dropout", "probability with which an output of the adapter is silent in a step"),
        ("rank_dropout", "the same of a rank, or of an output where there is no rank axis"),
        ("rank_dropout_scale", "divide what acts by the probability that it does"),
        ("module_dropout", "probability with which the adapter is silent in a step"),
        ("max_norm", "largest Frobenius norm of the update"),
    ];

    /// Takes these options out of the table of an algorithm's.
    ///
    /// # Errors
    /// When one is of the wrong type or out of range.
    pub fn split(algorithm: &str, options: &mut toml::Table) -> Result<Self, AdapterError> {
        let error = |reason: String| AdapterError::Config { algorithm: algorithm.into(), reason };
        let own: toml::Table =
            Self::OPTIONS.iter().filter_map(|(name, _)| options.remove_entry(*name)).collect();
        let training: Self =
            own.try_into().map_err(|e: toml::de::Error| error(e.message().into()))?;
        for (name, p) in [
            ("dropout", training.dropout),
            ("rank_dropout", training.rank_dropout),
            ("module_dropout", training.module_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(error(format!("{name} is {p}, give a probability below 1")));
            }
        }
        match training.max_norm {
            Some(norm) if !(norm > 0.0 && norm.is_finite()) => {
                Err(error(format!("max_norm is {norm}, give a positive number")))
            }
            _ => Ok(training),
        }
    }

    /// Whether a step leaves anything out.
    pub(crate) fn drops(&self) -> bool {
        self.dropout > 0.0 || self.rank_dropout > 0.0 || self.module_dropout > 0.0
    }
}

/// A factor `[r, n]` with its rows weighted by `weights`, `[r]`; gradients reach the factor itself.
pub fn weigh_rows(factor: &Param<Tensor<2>>, weights: Tensor<1>) -> Param<Tensor<2>> {
    factor.clone().map(|factor| factor * weights.unsqueeze_dim(1))
}

/// What one step leaves out of one adapter.
pub(crate) struct Draw(StdRng);

impl Draw {
    pub fn new(site: &Site, set: &str, step: u64) -> Self {
        Self(init::stream(&format!("dropout of {set} in {}", site.path), step))
    }

    /// True with probability `p`.
    pub fn hits(&mut self, p: f64) -> bool {
        p > 0.0 && self.0.random_bool(p)
    }

    /// `n` weights: 0 with probability `p`, else 1 or, scaled, $1/(1-p)$.
    pub fn weights(&mut self, n: usize, p: f64, scaled: bool) -> Vec<f64> {
        let kept = if scaled { 1.0 / (1.0 - p) } else { 1.0 };
        (0..n).map(|_| if self.hits(p) { 0.0 } else { kept }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SiteKind;

    #[test]
    fn options_are_taken_out_of_the_algorithms_own() {
        let mut options = toml::toml! { rank = 4 dropout = 0.25 rank_dropout_scale = true };
        let training = Training::split("lora", &mut options).unwrap();
        let expected = Training { dropout: 0.25, rank_dropout_scale: true, ..Training::default() };
        assert_eq!(training, expected);
        assert_eq!(options, toml::toml! { rank = 4 });
    }

    #[test]
    fn options_out_of_range_are_named() {
        for (mut options, expected) in [
            (toml::toml! { dropout = 1.0 }, "dropout is 1, give a probability below 1"),
            (toml::toml! { rank_dropout = -0.1 }, "rank_dropout is -0.1, give a probability"),
            (toml::toml! { module_dropout = nan }, "module_dropout is NaN, give a probability"),
            (toml::toml! { max_norm = 0 }, "max_norm is 0, give a positive number"),
            (toml::toml! { dropout = "much" }, "invalid type: string"),
        ] {
            let error = Training::split("lora", &mut options).unwrap_err().to_string();
            assert!(error.starts_with(&format!("options of lora: {expected}")), "{error}");
        }
    }

    #[test]
    fn weights_are_dropped_as_often_as_asked() {
        let site = Site::new("l", SiteKind::Linear, [1, 1]);
        let (n, p) = (20_000, 0.3);
        let weights = Draw::new(&site, "a", 1).weights(n, p, true);
        let dropped = weights.iter().filter(|w| **w == 0.0).count() as f64 / n as f64;
        // Four standard deviations of a binomial share.
        assert!((dropped - p).abs() < 4.0 * (p * (1.0 - p) / n as f64).sqrt(), "{dropped}");
        assert!(weights.iter().all(|w| *w == 0.0 || *w == 1.0 / 0.7));
    }

    #[test]
    fn draws_follow_from_step_set_and_path() {
        let draw = |path: &str, set: &str, step| {
            let site = Site::new(path, SiteKind::Linear, [1, 1]);
            Draw::new(&site, set, step).weights(64, 0.5, false)
        };
        assert_eq!(draw("l", "a", 1), draw("l", "a", 1));
        assert_ne!(draw("l", "a", 1), draw("l", "a", 2));
        assert_ne!(draw("l", "a", 1), draw("l", "b", 1));
        assert_ne!(draw("l", "a", 1), draw("m", "a", 1));
    }
}
