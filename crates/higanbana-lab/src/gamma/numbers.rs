//! Of which kinds the numbers of the chapter are.

use super::Chapter;
use crate::numbers::Numbers;

/// The size of rounding itself, which another processor makes several times as large or as small.
const ROUNDING: Numbers = Numbers {
    keys: &["rounded", "rounding", "alpha"],
    floor: 0.0,
    digits: 1,
    absolute: 1e-15,
    relative: 0.9,
    ..Numbers::COMPUTED
};

/// How it grows, which is drawn.
const GROWTH: Numbers = Numbers { keys: &["growth"], digits: 2, ..ROUNDING };

/// Of which kinds the numbers of a [`Chapter`] are. Where both trainings are rounded alike, their deviation is 0 or
/// the theorem is broken: nothing of it is rounded off.
pub const NUMBERS: &[Numbers] = &[
    ROUNDING,
    GROWTH,
    // As many digits as an f32 needs, and no fewer: they are picked among those.
    Numbers { keys: &["hyperparameters"], floor: 0.0, digits: 9, ..Numbers::COMPUTED },
    // A share of the steps; one of them may be on the threshold.
    Numbers { keys: &["clipped"], absolute: 0.02, ..Numbers::COMPUTED },
    Numbers { keys: &["plan", "dyadic_gamma", "dyadic", "bounds"], ..Numbers::GIVEN },
];

impl Chapter {
    /// With the digits that are written, for the page and the table. Whether a bound holds is asked
    /// [before](Chapter::violations).
    #[must_use]
    pub fn written(mut self) -> Self {
        for cell in self.cells.iter_mut().chain(&mut self.unet) {
            cell.rounded = cell.rounded.map(|deviation| ROUNDING.written(deviation));
            cell.rounding = ROUNDING.written(cell.rounding);
            for alpha in cell.alpha.iter_mut().flatten() {
                alpha.deviation = ROUNDING.written(alpha.deviation);
                alpha.path = ROUNDING.written(alpha.path);
            }
        }
        for value in self.growth.iter_mut().flat_map(|curve| &mut curve.values) {
            *value = GROWTH.written(*value);
        }
        self
    }
}
