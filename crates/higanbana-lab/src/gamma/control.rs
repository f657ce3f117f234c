//! Negative controls: one rule of the theorem broken, which has to show.

use higanbana_train::{Role, Rule};

use super::{
    compare::PROBED,
    course::Course,
    setup::Setup,
    task::{Adapted, Task},
};

/// A control has to depart by more than this.
pub const THRESHOLD: f64 = 1e-3;
/// A control that departs by more than this is broken off.
const ENOUGH: f64 = 10.0 * THRESHOLD;
/// Steps over which a common threshold shows at the latest.
const COMMON: usize = 120;

/// A rule of the theorem, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The learning rate scaled with another power.
    WrongC,
    /// Every ε left as it was.
    UnscaledEps,
    /// Weight decay left as it was.
    UnscaledDecay,
    /// The threshold of clipping left as it was.
    UnscaledThreshold,
    /// One threshold for layers of unequal factors.
    GlobalClip,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WrongC,
        Self::UnscaledEps,
        Self::UnscaledDecay,
        Self::UnscaledThreshold,
        Self::GlobalClip,
    ];

    /// Name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongC => "wrong_c",
            Self::UnscaledEps => "unscaled_eps",
            Self::UnscaledDecay => "unscaled_decay",
            Self::UnscaledThreshold => "unscaled_threshold",
            Self::GlobalClip => "global_clip",
        }
    }

    /// Whether hyperparameters of this role are left as they were.
    pub(super) fn leaves(self, role: Role) -> bool {
        match self {
            Self::UnscaledEps => matches!(role, Role::Epsilon | Role::Ridge | Role::Norm),
            Self::UnscaledDecay => role == Role::Decay,
            _ => false,
        }
    }
}

impl Control {
    /// Whether the rule can be broken with this optimizer.
    ///
    /// # Errors
    /// The reason, where it cannot.
    pub(super) fn applies(self, rule: &Rule) -> Result<(), String> {
        match self {
            Self::WrongC => Ok(()),
            Self::UnscaledEps | Self::UnscaledDecay => {
                let left: Vec<_> =
                    rule.hyperparameters.iter().filter(|h| self.leaves(h.role)).collect();
                let what = if self == Self::UnscaledEps { "ε" } else { "weight decay" };
                match left.first() {
                    None => Err(format!("there is no {what}")),
                    Some(h) if left.iter().all(|h| h.power == 0) => {
                        Err(format!("{what} stays: {}, and c = {}", h.why, rule.c()))
                    }
                    Some(_) => Ok(()),
                }
            }
            Self::UnscaledThreshold | Self::GlobalClip => {
                rule.ignores_clipping.map_or(Ok(()), |why| Err(why.into()))
            }
        }
    }
}

/// The deviation with one rule broken, up to where it is large enough; a reason where the rule cannot
/// be broken.
pub(super) fn run<'n, T: Task>(
    control: Control,
    net: &'n Adapted<T>,
    setup: &Setup,
    reference: &mut Course<'n, T>,
) -> Result<f64, String> {
    control.applies(setup.rule)?;
    let steps = reference.updates.len();
    if control == Control::GlobalClip {
        return global_clip(net, setup, steps.min(COMMON));
    }
    let course = Course::without_gamma(net, setup, Some(control));
    Ok(reference.compare(course, steps, Some(ENOUGH)).deviation())
}

/// Layers of unequal factors under one threshold: the best of several that one might think of still
/// departs. Where all layers have the same γ, the second half of them gets none.
fn global_clip<T: Task>(net: &Adapted<T>, setup: &Setup, steps: usize) -> Result<f64, String> {
    let n = net.sites.len();
    if n < 2 {
        return Err("it takes two layers to have unequal factors".into());
    }
    let mut layers = setup.layers.clone();
    if layers.iter().all(|a| *a == layers[0]) {
        layers[n / 2..].fill(1.0);
    }
    let scalings = net.scalings(setup.rule, &layers).map_err(|error| error.to_string())?;
    let mut unequal = setup.whole(layers, scalings);
    let mut probe = Course::with_gamma(net, &unequal);
    probe.until(steps.min(PROBED));
    let threshold = probe.sizes().whole;
    unequal.whole = Some(threshold);
    let mut reference = Course::with_gamma(net, &unequal);
    let a = unequal.factors.iter().copied().find(|a| *a != 1.0).unwrap_or(1.0);
    let deviations = [1.0, a.recip(), a.sqrt().recip()].map(|factor| {
        unequal.whole = Some(threshold * factor);
        let course = Course::without_gamma(net, &unequal, None);
        reference.compare(course, steps, Some(ENOUGH)).deviation()
    });
    Ok(deviations.into_iter().fold(f64::INFINITY, f64::min))
}
