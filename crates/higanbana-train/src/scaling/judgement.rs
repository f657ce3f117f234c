//! Whether anything replaces $\gamma$, and what.
//!
//! A layer with the map $T$ asks for factors $a_i > 0$ of its trained tensors with
//! $$T(a_1 A_1, \dots, a_n A_n) = \gamma T(A_1, \dots, A_n) \quad\text{for all } A, \qquad
//! \text{that is} \quad \prod_i a_i^{d_i} = \gamma,$$
//! and the optimizer asks some of the $a_i$ to be 1, or all of them to be the same:
//!
//! * a tensor outside of $T$, such as a magnitude that multiplies what $T$ is inside of, has $a = 1$: the
//!   layer depends on it in another way than through $\gamma T$;
//! * a frozen one has $a = 1$: it is what it is;
//! * one that starts from zeros has $a = 1$ under a rule that [needs](Rule::needs_nonzero) it not to: the
//!   first step of it does not scale with the parameters, the steps after that do, and one rate cannot serve
//!   both;
//! * one number that follows from all tensors together, a [`Shared`] norm or estimate, has one factor, so that
//!   all tensors have.
//!
//! What is left of degree $m' = \sum d_i$ takes up $\gamma$ evenly, $a = \gamma^{1/m'}$. With $m' = 0$ the
//! equation reads $1 = \gamma$: there is no scaling, whatever else is chosen. A tensor of degree 0 within $T$,
//! such as a direction that is normalised, is in no equation; its factor is 1, or where all have to be the
//! same, theirs.

use higanbana_core::Degree;

use super::{
    Block, Layer, Part, Scaling, ScalingError,
    roots::{positive, root},
};
use crate::{Rule, optimizers::Shared};

/// What the tensors of a training have in common, besides its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One norm and one estimate for all tensors, as most trainers have it.
    Together,
    /// The same, but norms are taken in the [units](crate::Unit) of the published training, so that gradients
    /// that scale differently have the norm that they had.
    Measured,
    /// Tensors of unequal factors are groups of their own, in both trainings.
    Apart,
}

/// What replaces the $\gamma$ of each layer in a training of all of them.
///
/// ```
/// use higanbana_core::Degree;
/// use higanbana_train::{optimizer, scaling::{Layer, Sharing, judge}};
///
/// let lora = Degree::Update(vec![("up", 1), ("down", 1)]);
/// let layer = Layer { zeros: vec!["up".into()], ..Layer::new(lora, 1.0 / 16.0) };
/// let factors = |name: &str| {
///     let scalings = judge(&[layer.clone()], optimizer(name).unwrap(), Sharing::Together)?;
///     Ok::<_, higanbana_train::ScalingError>([0, 1].map(|block| scalings[0].blocks[block].factor))
/// };
/// assert_eq!(factors("adamw")?, [0.25, 0.25]);
/// // Its step from zeros does not scale: what is not zero takes up all.
/// assert_eq!(factors("lamb")?, [1.0, 0.0625]);
/// # Ok::<(), higanbana_train::ScalingError>(())
/// ```
///
/// # Errors
/// The reason why nothing does.
pub fn judge(
    layers: &[Layer],
    rule: &'static Rule,
    sharing: Sharing,
) -> Result<Vec<Scaling>, ScalingError> {
    let judged = layers.iter().map(|layer| layer.scaling(rule, sharing));
    let scalings = judged.collect::<Result<Vec<_>, _>>()?;
    agree(&scalings, rule, sharing)?;
    Ok(scalings)
}

/// Whether the trained tensors of these layers may be one group of an optimizer.
pub(super) fn agree(
    scalings: &[Scaling],
    rule: &Rule,
    sharing: Sharing,
) -> Result<(), ScalingError> {
    let blocks = scalings.iter().flat_map(|scaling| &scaling.blocks);
    let trained = blocks.filter(|block| block.part != Part::Frozen);
    alike(rule, sharing, trained.map(|block| (block.to_string(), block.factor)))
}

/// Whether tensors with these factors may be one group of an optimizer.
///
/// # Errors
/// When the optimizer has one number for all of them, and two do not agree on it.
pub fn alike(
    rule: &Rule,
    sharing: Sharing,
    tensors: impl IntoIterator<Item = (String, f64)>,
) -> Result<(), ScalingError> {
    let Some(shared) = shared(rule, sharing) else { return Ok(()) };
    let mut tensors = tensors.into_iter();
    let Some(first) = tensors.next() else { return Ok(()) };
    let Some(other) = tensors.find(|(_, factor)| !near(*factor, first.1)) else { return Ok(()) };
    let factors = [first.1, other.1].map(|a| a.powi(shared.power()));
    Err(ScalingError::Shared {
        optimizer: rule.title,
        what: shared.what(),
        tensors: [first.0, other.0],
        factors,
    })
}

/// Whether one threshold serves the norm of all gradients: the factors of all trained tensors are the same, or
/// clipping changes nothing.
pub fn one_norm(scalings: &[Scaling]) -> bool {
    let blocks = scalings.iter().flat_map(|scaling| &scaling.blocks);
    let mut factors = blocks.filter(|block| block.part != Part::Frozen).map(|block| block.factor);
    let first = factors.next().unwrap_or(1.0);
    let ignored = scalings.iter().all(|scaling| scaling.rule.ignores_clipping.is_some());
    ignored || factors.all(|factor| near(factor, first))
}

fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-12
}

/// What a rule asks to be one number for all tensors.
fn shared(rule: &Rule, sharing: Sharing) -> Option<Shared> {
    rule.shared.filter(|shared| match sharing {
        Sharing::Together => true,
        Sharing::Measured => *shared != Shared::Norm,
        Sharing::Apart => false,
    })
}

impl Layer {
    /// What replaces the $\gamma$ of this layer. Tensors of several layers, or of several groups, may still
    /// not [agree](alike).
    ///
    /// # Errors
    /// The reason why nothing does.
    pub fn scaling(&self, rule: &'static Rule, sharing: Sharing) -> Result<Scaling, ScalingError> {
        positive(self.gamma)?;
        let (exponents, inside): (&[(&str, u32)], bool) = match &self.degree {
            Degree::Update(exponents) => (exponents, false),
            Degree::Inside { exponents, .. } => (exponents, true),
            Degree::None { .. } if self.gamma == 1.0 => (&[], false),
            Degree::None { why } => return Err(ScalingError::NoDegree((*why).into())),
        };
        let degree = exponents.iter().map(|(_, d)| d).sum();
        let parts: Vec<Part> =
            exponents.iter().map(|&(names, d)| self.part(names, d, inside, rule)).collect();
        let carrying = exponents.iter().zip(&parts).filter(|(_, part)| **part == Part::Carries);
        let carried: u32 = carrying.map(|((_, d), _)| d).sum();
        let a = match (self.gamma == 1.0, carried) {
            (true, _) => 1.0,
            (false, 0) => return Err(self.nothing_carries(exponents, &parts, rule)),
            (false, m) => root(self.gamma, m)?,
        };
        let exponent = if carried == 0 { 0.0 } else { 1.0 / f64::from(carried) };
        let together = shared(rule, sharing).is_some();
        let block = |(&(names, _), part): (&(&str, u32), Part)| {
            let moves = part == Part::Carries || part == Part::Free && together;
            Block {
                names: names.split('+').map(String::from).collect(),
                part,
                exponent: if moves { exponent } else { 0.0 },
                factor: if moves { a } else { 1.0 },
            }
        };
        let blocks = exponents.iter().zip(parts).map(block).collect();
        Ok(Scaling { gamma: self.gamma, degree, rule, blocks })
    }

    fn part(&self, names: &str, degree: u32, inside: bool, rule: &Rule) -> Part {
        let any = |known: &[String]| names.split('+').any(|name| known.iter().any(|it| it == name));
        match degree {
            _ if any(&self.frozen) => Part::Frozen,
            0 if inside => Part::Outside,
            0 => Part::Free,
            _ if rule.needs_nonzero.is_some() && any(&self.zeros) => Part::Zero,
            _ => Part::Carries,
        }
    }

    /// Why the factor of no tensor changes the map.
    fn nothing_carries(
        &self,
        exponents: &[(&str, u32)],
        parts: &[Part],
        rule: &Rule,
    ) -> ScalingError {
        let names = |wanted: Part| {
            let pairs =
                exponents.iter().zip(parts).filter(|((_, d), part)| *d > 0 && **part == wanted);
            pairs.map(|((names, _), _)| *names).collect::<Vec<_>>().join(", ")
        };
        match (names(Part::Zero), names(Part::Frozen)) {
            (tensors, _) if !tensors.is_empty() => {
                let why = rule.needs_nonzero.unwrap_or_default();
                ScalingError::ZeroStart { optimizer: rule.title, tensors, why }
            }
            (_, tensors) if !tensors.is_empty() => ScalingError::Frozen(tensors),
            _ => ScalingError::DegreeZero,
        }
    }
}
