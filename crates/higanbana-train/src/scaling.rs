//! The gamma-equivalence theorem as code: which training without $\gamma$ is the same as one with it.
//!
//! Let a layer act with $W_0 + \gamma T(A_1, \dots, A_n)$ where
//! $T(s_1 A_1, \dots, s_n A_n) = \big(\prod_i s_i^{d_i}\big) T(A_1, \dots, A_n)$, and let
//! $\gamma^{e_1 d_1} \cdots \gamma^{e_n d_n} = \gamma$. With $a_i = \gamma^{e_i}$, the training that starts from
//! $a_i A_i$, without $\gamma$, at the learning rates $a_i^c \eta$ goes through $a_i A_i(t)$ and the same
//! updates $\Delta W$ at every step, whatever the losses are, where $c$ is the
//! [optimizer's](crate::Rule::c) and its hyperparameters scale with
//! [powers of $a_i$](crate::Hyperparameter::power). The plain choice is $e_i = 1/m$, $m = \sum_i d_i$.
//!
//! Whether there is such a training is [judged](judge) from the tensors of each [`Layer`], what they start from,
//! and what the optimizer shares between them.
//!
//! Theorem 1 of arXiv:2309.14859; Schulman (2025) has LoRA under Adam with two exponents.

mod error;
mod judgement;
mod layer;
mod roots;
#[cfg(test)]
mod tests;
pub mod translation;

use std::fmt;

use higanbana_core::Degree;

use self::roots::positive;
pub use self::{
    error::ScalingError,
    judgement::{Sharing, alike, judge, one_norm},
    layer::Layer,
    roots::{is_power_of_two, root},
};
use crate::{Rule, Settings};

/// What replaces $\gamma$: for every block of trained tensors a factor.
#[derive(Debug, Clone)]
pub struct Scaling {
    /// $\gamma$.
    pub gamma: f64,
    /// Degree $m$ of the map that $\gamma$ multiplies.
    pub degree: u32,
    /// The optimizer.
    pub rule: &'static Rule,
    /// The blocks.
    pub blocks: Vec<Block>,
}

/// Trained tensors that are scaled together.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Names of the tensors.
    pub names: Vec<String>,
    /// Exponent $e_i$.
    pub exponent: f64,
    /// $a_i = \gamma^{e_i}$: initial values are multiplied by this.
    pub factor: f64,
    /// Why this is the factor.
    pub part: Part,
}

/// The part that tensors have in what replaces $\gamma$.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// They take up $\gamma$.
    Carries,
    /// They are in the map, which does not change with their size.
    Free,
    /// They are outside of the map that $\gamma$ multiplies.
    Outside,
    /// They start from zeros, where the optimizer's step does not scale.
    Zero,
    /// They are not trained.
    Frozen,
}

impl Scaling {
    /// What replaces $\gamma$ for an adapter of this degree under this optimizer, from values other than
    /// zeros; [`judge`] knows of those, and of what tensors share. Where a map inside the update is homogeneous,
    /// $\gamma$ stands there.
    ///
    /// ```
    /// use higanbana_core::Degree;
    /// use higanbana_train::{Scaling, optimizer};
    ///
    /// let loha = Degree::Update(vec![("w1_a", 1), ("w1_b", 1), ("w2_a", 1), ("w2_b", 1)]);
    /// let scaling = Scaling::for_gamma(&loha, optimizer("adamw").unwrap(), 16.0)?;
    /// assert_eq!((scaling.blocks[0].factor, scaling.rate(0)), (2.0, 2.0));
    /// let scaling = Scaling::for_gamma(&loha, optimizer("sgd").unwrap(), 16.0)?;
    /// assert_eq!((scaling.blocks[0].factor, scaling.rate(0)), (2.0, 4.0));
    /// # Ok::<(), higanbana_train::ScalingError>(())
    /// ```
    ///
    /// # Errors
    /// When $\gamma$ is not a positive number, or there is no degree.
    pub fn for_gamma(
        degree: &Degree,
        rule: &'static Rule,
        gamma: f64,
    ) -> Result<Self, ScalingError> {
        Layer::new(degree.clone(), gamma).scaling(rule, Sharing::Apart)
    }

    /// The same with exponents of your own for the blocks, in their order: $\sum_i e_i d_i = 1$ is
    /// asked of them, as [`crate::euler::exponents`] finds them.
    ///
    /// # Errors
    /// When $\gamma$ is not a positive number.
    pub fn with_exponents(
        blocks: impl IntoIterator<Item = (String, f64)>,
        degree: u32,
        rule: &'static Rule,
        gamma: f64,
    ) -> Result<Self, ScalingError> {
        positive(gamma)?;
        let block = |(name, exponent): (String, f64)| {
            let inverse = 1.0 / exponent;
            let whole = inverse.round();
            let factor = if exponent == 0.0 {
                1.0
            } else if (inverse - whole).abs() < 1e-9 && whole >= 1.0 {
                root(gamma, whole as u32)?
            } else {
                gamma.powf(exponent)
            };
            Ok(Block { names: vec![name], exponent, factor, part: Part::Carries })
        };
        let blocks = blocks.into_iter().map(block).collect::<Result<_, ScalingError>>()?;
        Ok(Self { gamma, degree, rule, blocks })
    }

    /// $a^c$: the learning rate of a block is multiplied by this.
    pub fn rate(&self, block: usize) -> f64 {
        self.blocks[block].factor.powi(self.rule.c())
    }

    /// The factor of a hyperparameter, or of a state that the optimizer carries.
    pub fn factor(&self, block: usize, power: i32) -> f64 {
        self.blocks[block].factor.powi(power)
    }

    /// $a^{-1}$: thresholds of gradients are multiplied by this.
    pub fn threshold(&self, block: usize) -> f64 {
        self.blocks[block].factor.powi(-1)
    }

    /// The hyperparameters of a block.
    pub fn settings(&self, block: usize, settings: &Settings) -> Settings {
        scaled(self.rule, settings, self.blocks[block].factor)
    }

    /// The block that a tensor belongs to.
    pub fn block(&self, name: &str) -> Option<usize> {
        self.blocks.iter().position(|block| block.names.iter().any(|known| known == name))
    }

    /// Whether both trainings are rounded alike: every factor is a power of two.
    pub fn is_dyadic(&self) -> bool {
        is_power_of_two(self.gamma) && self.blocks.iter().all(|block| is_power_of_two(block.factor))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join("+"))
    }
}

/// Hyperparameters for parameters that are `a` times as large.
pub fn scaled(rule: &Rule, settings: &Settings, a: f64) -> Settings {
    rule.hyperparameters.iter().fold(settings.clone(), |scaled, h| {
        let value = settings.get(h.name) * a.powi(h.power);
        scaled.with(h.name, value)
    })
}
