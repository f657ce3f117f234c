//! The choice between the two forward paths.

use higanbana_core::{Features, Op, PathChoice, Slot};

/// Extra work of the two paths beyond the layer's own operation, in multiply-accumulates.
///
/// With $P$ output positions, a weight `[out, cols]`, and $u$ and $s$ an adapter's
/// [`Cost`](higanbana_core::Cost) for one update and for one position of the shortcut,
///
/// ```text
///              definition                 shortcut
/// inference    Σ u                        P Σ s
/// training     3 Σ u + P · out · cols     3 P Σ s
/// ```
///
/// A backward pass costs twice its forward pass. The definition moreover needs the gradient of the
/// effective weight, as much work as the operation itself; the shortcut never forms it, the base
/// being frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Of the definition.
    pub definition: usize,
    /// Of the shortcut.
    pub shortcut: usize,
}

impl Work {
    /// Work of the adapters of a slot on features `x`; `None` where one of them has no shortcut.
    pub fn of(slot: &Slot, x: &Features, op: &Op, training: bool) -> Option<Self> {
        let positions = output_positions(x, op);
        let (mut update, mut shortcut) = (0usize, 0);
        for member in slot.active() {
            let cost = member.adapter.cost(&slot.site, op.groups())?;
            update = update.saturating_add(cost.update);
            shortcut += positions * cost.shortcut;
        }
        Some(if training {
            let gradient = positions * slot.site.out() * slot.site.cols();
            let definition = update.saturating_mul(3).saturating_add(gradient);
            Self { definition, shortcut: 3 * shortcut }
        } else {
            Self { definition: update, shortcut }
        })
    }
}

/// Whether a layer is to try the shortcut: as its slot says, else where it costs less.
pub fn cheaper(slot: &Slot, x: &Features, op: &Op, training: bool) -> bool {
    match slot.path {
        PathChoice::Definition => false,
        PathChoice::Shortcut => true,
        PathChoice::Auto => {
            Work::of(slot, x, op, training).is_some_and(|work| work.shortcut < work.definition)
        }
    }
}

/// Output positions, up to the border of a map, on which the choice does not hang.
fn output_positions(x: &Features, op: &Op) -> usize {
    match op {
        Op::Linear => x.positions(),
        Op::Conv2d(options) => x.positions() / options.stride.iter().product::<usize>(),
    }
}
