//! Negative controls: one rule of the theorem broken, which has to show.

use higanbana_train::{Role, Rule};

/// A control has to depart by more than this.
pub const THRESHOLD: f64 = 1e-3;

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
