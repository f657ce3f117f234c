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
//! Theorem 1 of arXiv:2309.14859; Schulman (2025) has LoRA under Adam with two exponents.

use std::fmt;

use higanbana_core::Degree;

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
}

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
}

impl Scaling {
    /// What replaces $\gamma$ for an adapter of this degree under this optimizer. Where a map inside
    /// the update is homogeneous, $\gamma$ stands there.
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
        let exponents = match degree {
            Degree::Update(exponents) | Degree::Inside { exponents, .. } => exponents,
            Degree::None { why } => return Err(ScalingError::NoDegree((*why).into())),
        };
        let m: u32 = exponents.iter().map(|(_, d)| d).sum();
        if m == 0 {
            return Err(ScalingError::NoDegree("it depends on none of them".into()));
        }
        let root = root(gamma, m)?;
        let block = |&(names, d): &(&str, u32)| Block {
            names: names.split('+').map(String::from).collect(),
            exponent: if d == 0 { 0.0 } else { 1.0 / f64::from(m) },
            factor: if d == 0 { 1.0 } else { root },
        };
        Ok(Self { gamma, degree: m, rule, blocks: exponents.iter().map(block).collect() })
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
            Ok(Block { names: vec![name], exponent, factor })
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

/// $\gamma^{1/m}$; a power of two where that is one, found from the exponent.
///
/// # Errors
/// When $\gamma$ is not a positive number.
pub fn root(gamma: f64, m: u32) -> Result<f64, ScalingError> {
    positive(gamma)?;
    let m = m as i32;
    Ok(match exponent_of_two(gamma) {
        Some(e) if e % m == 0 => power_of_two(e / m),
        _ if m == 1 => gamma,
        _ => gamma.powf(1.0 / f64::from(m)),
    })
}

fn positive(gamma: f64) -> Result<(), ScalingError> {
    if gamma > 0.0 && gamma.is_finite() { Ok(()) } else { Err(ScalingError::Gamma(gamma)) }
}

/// Whether $x = 2^e$.
pub fn is_power_of_two(x: f64) -> bool {
    exponent_of_two(x).is_some()
}

/// $e$ where $x = 2^e$ and $x$ is a normal number.
fn exponent_of_two(x: f64) -> Option<i32> {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let exact = x > 0.0 && x.is_normal() && bits & MANTISSA == 0;
    exact.then(|| ((bits >> 52) & 0x7ff) as i32 - 1023)
}

/// $2^e$ for $-1022 \le e \le 1023$.
fn power_of_two(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{optimizer, optimizers};

    #[test]
    fn roots_of_powers_of_two_are_powers_of_two() {
        for m in 1..=6u32 {
            for e in [-40, -7, -1, 1, 2, 13] {
                let gamma = power_of_two(e * m as i32);
                assert_eq!(root(gamma, m).unwrap(), power_of_two(e), "2^{e}, degree {m}");
            }
        }
        assert_eq!(root(0.5, 2).unwrap(), 0.5f64.sqrt());
        assert_eq!(root(0.037, 1).unwrap(), 0.037);
    }

    #[test]
    fn what_is_no_positive_number_is_refused() {
        for gamma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(root(gamma, 2), Err(ScalingError::Gamma(_))), "{gamma}");
        }
    }

    #[test]
    fn learning_rates_scale_with_c() {
        let degree = Degree::Update(vec![("up", 1), ("down", 1)]);
        for (name, c) in [
            ("sgd", 2),
            ("momentum", 2),
            ("nesterov", 2),
            ("adam", 1),
            ("lion", 1),
            ("muon", 1),
            ("lamb", 0),
            ("adafactor", 0),
            ("adadelta", 0),
            ("prodigy", 0),
        ] {
            let rule = optimizer(name).unwrap();
            assert_eq!(rule.c(), c, "{name}");
            let scaling = Scaling::for_gamma(&degree, rule, 1.0 / 16.0).unwrap();
            assert_eq!(scaling.rate(0), 0.25f64.powi(c), "{name}");
            assert_eq!(scaling.threshold(1), 4.0);
            assert!(scaling.is_dyadic());
        }
    }

    #[test]
    fn hyperparameters_scale_as_their_units_do() {
        let adamw = optimizer("adamw").unwrap();
        let scaled = scaled(adamw, &adamw.settings(), 0.25);
        assert_eq!(scaled.get("eps"), 4e-8);
        assert_eq!(scaled.get("weight_decay"), 0.04);
        assert_eq!(scaled.get("beta_1"), 0.9);
    }

    #[test]
    fn tensors_outside_the_map_stay() {
        let degree = Degree::Inside { map: "V", exponents: vec![("a1+b1", 1), ("scale", 0)] };
        let scaling = Scaling::for_gamma(&degree, optimizer("adam").unwrap(), 0.3).unwrap();
        assert_eq!(scaling.blocks[scaling.block("b1").unwrap()].factor, 0.3);
        assert_eq!(scaling.blocks[scaling.block("scale").unwrap()].factor, 1.0);
        assert_eq!(scaling.block("other"), None);
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = optimizers().iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), 19);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 19);
    }
}
