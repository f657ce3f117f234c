//! Negative controls: one rule of the theorem broken, which has to show.

use higanbana_train::{Role, Rule};

/// A control has to depart by more than this.
pub const THRESHOLD: f64 = 1e-3;

/// A factor of which a broken rule has to be off to show.
const ENOUGH: f64 = 2.0;
/// Steps over which every rule shows at the latest.
pub(super) const SHOWN: usize = 120;
/// Share of the steps on which clipping is to be active.
pub(super) const FAIR: std::ops::RangeInclusive<f64> = 0.2..=0.8;

/// What a broken rule has to exceed: the threshold, and well what rounding may do.
pub(super) fn least(bound: Option<f64>) -> f64 {
    THRESHOLD.max(10.0 * bound.unwrap_or_default())
}

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

    /// An exponent that is not $c$.
    pub(super) fn wrong(c: i32) -> i32 {
        match c {
            1 => 2,
            _ => 1,
        }
    }

    /// By which power of $a$ the rules are off.
    fn off(self, rule: &Rule) -> i32 {
        let left = rule.hyperparameters.iter().filter(|h| self.leaves(h.role));
        match self {
            Self::WrongC => (Self::wrong(rule.c()) - rule.c()).abs(),
            Self::UnscaledThreshold | Self::GlobalClip => 1,
            _ => left.map(|h| h.power.abs()).max().unwrap_or_default(),
        }
    }

    /// Why a departure that does not exceed `least` says nothing here, if there is a reason: with factors
    /// `factors`, over these `steps`, with gradients clipped on this share of them.
    pub(super) fn weak(
        self,
        rule: &Rule,
        factors: &[f64],
        steps: usize,
        clipped: f64,
    ) -> Option<String> {
        let power = self.off(rule);
        let off = |a: &f64| a.powi(power).max(a.powi(-power));
        let off = factors.iter().map(off).fold(1.0, f64::max);
        let clips = matches!(self, Self::UnscaledThreshold | Self::GlobalClip);
        match () {
            () if off < ENOUGH => {
                Some(format!("too weak at this gamma, off by a factor of {off:.4}"))
            }
            () if steps < SHOWN => Some(format!("too weak over {steps} steps")),
            () if clips && !FAIR.contains(&clipped) => {
                let share = 100.0 * clipped;
                Some(format!("too weak with gradients clipped on {share:.0} % of the steps"))
            }
            () => None,
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
