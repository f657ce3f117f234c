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
    /// Work of the adapters of a slot; `None` where one of them has no shortcut.
    pub fn of(slot: &Slot, positions: usize, training: bool) -> Option<Self> {
        let mut work = Self { definition: 0, shortcut: 0 };
        for layer in slot.active() {
            let cost = layer.adapter.cost(&slot.site)?;
            work.definition += cost.update;
            work.shortcut += positions * cost.shortcut;
        }
        if training {
            work.definition = 3 * work.definition + positions * slot.site.out() * slot.site.cols();
            work.shortcut *= 3;
        }
        Some(work)
    }
}

/// Whether a layer is to try the shortcut: as its slot says, else where it costs less.
///
/// A grouped convolution takes the definition unless told otherwise: most adapters mix all channels
/// and have no shortcut there, which turns out only after the layer's own operation has run.
pub fn cheaper(slot: &Slot, x: &Features, op: &Op, training: bool) -> bool {
    match slot.path {
        PathChoice::Definition => false,
        PathChoice::Shortcut => true,
        PathChoice::Auto => {
            let grouped = matches!(op, Op::Conv2d(options) if options.groups > 1);
            let work = Work::of(slot, output_positions(x, op), training);
            !grouped && work.is_some_and(|work| work.shortcut < work.definition)
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
