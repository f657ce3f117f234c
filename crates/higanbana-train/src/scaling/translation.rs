//! One recipe in the numbers of another.
//!
//! Published is a training at the scale $s$ ($\alpha/r$, or $\alpha/\sqrt r$) with the learning rate $\eta$, of the
//! tensors that start from zeros $\rho \eta$ (LoRA+). Wanted are a scale $s'$ and a ratio $\rho'$. The update
//! $s T$ is $\gamma \cdot s' T$ with $\gamma = s/s'$, and the factors $a_z$ of the tensors that start from zeros,
//! $a_n$ of the others, of degrees $d_z$ and $d_n$ together, have to satisfy
//! $$a_z^{d_z} a_n^{d_n} = \gamma, \qquad \left(\frac{a_z}{a_n}\right)^c = \frac{\rho'}{\rho},$$
//! the second because rates scale with $a^c$. With $q = (\rho'/\rho)^{1/c}$ that is
//! $a_n = (\gamma q^{-d_z})^{1/(d_z + d_n)}$, $a_z = q a_n$. At $\rho' = \rho \gamma^{c/d_z}$ the others keep their
//! initial values, $a_n = 1$; those that are zero are zero at any scale.
//!
//! A change of rank is no $\gamma$: tensors of other shapes have no common training.

use higanbana_core::Degree;

use super::{Layer, Part, Scaling, ScalingError, Sharing, judge, judgement::agree, one_norm};
use crate::{Rule, Settings};

/// The numbers of a recipe that depend on the scale of the update.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// $\eta$.
    pub rate: f64,
    /// $\rho$: how many times faster tensors learn that start from zeros.
    pub ratio: f64,
    /// Threshold of the norm of all gradients.
    pub clip: Option<f64>,
    /// Hyperparameters of the optimizer.
    pub settings: Settings,
}

/// A number in both recipes.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is.
    pub what: &'static str,
    /// Of which tensors; of all where there is none.
    pub tensors: Vec<String>,
    /// Its published value; 1 for initial values.
    pub from: f64,
    /// Its value here.
    pub to: f64,
    /// Why.
    pub why: String,
}

/// Numbers of one recipe for another that trains the same.
#[derive(Debug, Clone)]
pub struct Translation {
    /// What replaces $\gamma$ in each layer.
    pub scalings: Vec<Scaling>,
    /// The numbers of each layer.
    pub lines: Vec<Vec<Line>>,
    /// Whether one threshold serves the norm of all gradients.
    pub one_norm: bool,
}

/// The numbers of `from` at another scale and ratio; every layer has its $\gamma$.
///
/// # Errors
/// The reason why no numbers make the same training.
pub fn translate(
    layers: &[Layer],
    rule: &'static Rule,
    from: &Numbers,
    ratio: f64,
) -> Result<Translation, ScalingError> {
    let mut scalings = judge(layers, rule, Sharing::Together)?;
    if ratio != from.ratio {
        for (layer, scaling) in layers.iter().zip(&mut scalings) {
            part(layer, scaling, ratio / from.ratio)?;
        }
        agree(&scalings, rule, Sharing::Together)?;
    }
    let one_norm = one_norm(&scalings);
    let pairs = layers.iter().zip(&scalings);
    let lines = pairs.map(|(layer, scaling)| lines(layer, scaling, from, ratio, one_norm));
    Ok(Translation { lines: lines.collect(), scalings, one_norm })
}

/// The ratio at which tensors that do not start from zeros keep their initial values, the same in all layers.
pub fn ratio_of_own_start(layers: &[Layer], rule: &Rule, ratio: f64) -> Option<f64> {
    let own = |layer: &Layer| {
        let (zeros, others) = degrees(layer);
        let c = f64::from(rule.c());
        (zeros * others > 0).then(|| ratio * layer.gamma.powf(c / f64::from(zeros)))
    };
    let mut ratios = layers.iter().map(own);
    let first = ratios.next()?.filter(|_| rule.c() != 0)?;
    let near = |other: Option<f64>| other.is_some_and(|it| (it / first - 1.0).abs() < 1e-12);
    ratios.all(near).then_some(first)
}

/// $d_z$ and $d_n$.
fn degrees(layer: &Layer) -> (u32, u32) {
    let (Degree::Update(exponents) | Degree::Inside { exponents, .. }) = &layer.degree else {
        return (0, 0);
    };
    let moving = exponents.iter().filter(|(names, _)| !has(&layer.frozen, names));
    moving.fold((0, 0), |(zeros, others), (names, d)| match has(&layer.zeros, names) {
        true => (zeros + d, others),
        false => (zeros, others + d),
    })
}

fn has(known: &[String], names: &str) -> bool {
    names.split('+').any(|name| known.iter().any(|it| it == name))
}

/// Parts the factors of tensors that start from zeros from those of the others.
fn part(layer: &Layer, scaling: &mut Scaling, ratio: f64) -> Result<(), ScalingError> {
    let (rule, (zeros, others)) = (scaling.rule, degrees(layer));
    if rule.c() == 0 {
        let why = "learning rates scale with no power of the factors, c = 0";
        return Err(ScalingError::Ratio(format!("under {} {why}", rule.title)));
    }
    if zeros == 0 || others == 0 {
        return Err(ScalingError::Ratio("no factor starts from zeros beside another".into()));
    }
    let q = ratio.powf(1.0 / f64::from(rule.c()));
    let m = f64::from(zeros + others);
    let factor = (layer.gamma * q.powi(-(zeros as i32))).powf(1.0 / m);
    // Rounding of the powers: 1 is meant.
    let factor = if (factor - 1.0).abs() < 1e-12 { 1.0 } else { factor };
    for block in scaling.blocks.iter_mut().filter(|block| block.part == Part::Carries) {
        let is_zero = block.names.iter().any(|name| layer.zeros.contains(name));
        block.factor = if is_zero { q * factor } else { factor };
        block.exponent = if layer.gamma == 1.0 { 0.0 } else { block.factor.log(layer.gamma) };
    }
    Ok(())
}

/// Names and factors of what is trained.
fn trained(scaling: &Scaling) -> impl Iterator<Item = (&[String], f64)> {
    let blocks = scaling.blocks.iter().filter(|block| block.part != Part::Frozen);
    blocks.map(|block| (block.names.as_slice(), block.factor))
}

fn lines(
    layer: &Layer,
    scaling: &Scaling,
    from: &Numbers,
    ratio: f64,
    one_norm: bool,
) -> Vec<Line> {
    let rule = scaling.rule;
    let mut groups: Vec<(f64, Vec<String>)> = Vec::new();
    for (names, factor) in trained(scaling) {
        match groups.iter_mut().find(|(known, _)| *known == factor) {
            Some((_, known)) => known.extend_from_slice(names),
            None => groups.push((factor, names.to_vec())),
        }
    }
    let of = |names: &[String]| if groups.len() == 1 { Vec::new() } else { names.to_vec() };
    let is_zero = |name: &String| layer.zeros.contains(name);
    let mut lines = Vec::new();
    for (a, names) in &groups {
        let drawn: Vec<String> = names.iter().filter(|name| !is_zero(name)).cloned().collect();
        if *a != 1.0 && !drawn.is_empty() {
            let why = format!("each takes up a factor a = {a:.6} of gamma; zeros stay zeros");
            lines.push(Line { what: "initial values", tensors: drawn, from: 1.0, to: *a, why });
        }
    }
    // Where rates part, the ratio has that of the faster ones.
    let parted = |names: &[String]| ratio != from.ratio && names.iter().all(is_zero);
    for (a, names) in groups.iter().filter(|(_, names)| !parted(names)) {
        let why = format!("times a^c with c = {}: {}", rule.c(), rule.why);
        let to = from.rate * a.powi(rule.c());
        lines.push(Line { what: "learning rate", tensors: of(names), from: from.rate, to, why });
    }
    if ratio != 1.0 || from.ratio != 1.0 {
        let why = match ratio == from.ratio {
            true => "the rates of all factors scale alike",
            false => "the factors that start from zeros take up another share of gamma",
        };
        let (from, why) = (from.ratio, why.into());
        lines.push(Line { what: "LoRA+ ratio", tensors: Vec::new(), from, to: ratio, why });
    }
    for h in rule.hyperparameters.iter().filter(|h| h.power != 0) {
        for (a, names) in &groups {
            let (from, why) =
                (from.settings.get(h.name), format!("times a^{}: {}", h.power, h.why));
            let to = from * a.powi(h.power);
            lines.push(Line { what: h.name, tensors: of(names), from, to, why });
        }
    }
    if let Some(clip) = from.clip.filter(|_| one_norm) {
        let (to, why) = match rule.ignores_clipping {
            Some(why) => (clip, why.into()),
            None => (clip / groups[0].0, "times a^-1: gradients are a times smaller".into()),
        };
        lines.push(Line { what: "clipping", tensors: Vec::new(), from: clip, to, why });
    }
    lines
}
