//! Axes: where values lie between two edges, and which of them are marked.

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    Linear,
    /// By their logarithms; what is not positive has no place.
    Logarithmic,
}

impl Scale {
    fn place(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear => value.is_finite().then_some(value),
            Self::Logarithmic => (value > 0.0 && value.is_finite()).then(|| value.log10()),
        }
    }
}

/// An axis.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// What it measures.
    pub label: &'static str,
    /// How.
    pub scale: Scale,
    /// Where it ends at the latest; what is beyond lies on the edge.
    pub most: f64,
}

impl Axis {
    /// In proportion.
    pub fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear, most: f64::INFINITY }
    }

    /// By logarithms.
    pub fn logarithmic(label: &'static str) -> Self {
        Self { scale: Scale::Logarithmic, ..Self::linear(label) }
    }

    /// The same, cut off.
    #[must_use]
    pub fn up_to(self, most: f64) -> Self {
        Self { most, ..self }
    }
}

/// Where values lie between two edges.
pub(super) struct Room {
    scale: Scale,
    low: f64,
    high: f64,
    edges: [f64; 2],
}

impl Room {
    /// With some space around values; none where no value has a place.
    pub(super) fn of(
        axis: Axis,
        values: impl Iterator<Item = f64>,
        edges: [f64; 2],
    ) -> Option<Self> {
        let scale = axis.scale;
        let most = scale.place(axis.most).unwrap_or(f64::INFINITY);
        let placed = values.filter_map(|value| Some(scale.place(value)?.min(most)));
        let (low, high) = placed.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return None;
        }
        let low = if scale == Scale::Linear && low > 0.0 && low < 0.5 * high { 0.0 } else { low };
        let margin = if high > low { 0.03 * (high - low) } else { 0.5 };
        let bottom = if low == 0.0 && scale == Scale::Linear { 0.0 } else { low - margin };
        Some(Self { scale, low: bottom, high: high + margin, edges })
    }

    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let share = (self.scale.place(value)? - self.low) / (self.high - self.low);
        Some(self.edges[0] + share.min(1.0) * (self.edges[1] - self.edges[0]))
    }

    /// Values to mark with what stands there.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.low, self.high);
        if self.scale == Scale::Linear {
            let raw = (high - low) / 5.0;
            let power = 10f64.powf(raw.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= raw);
            let step = step.unwrap_or(10.0 * power);
            let range = (low / step).ceil() as i64..=(high / step).floor() as i64;
            return range.map(|k| (k as f64 * step, number(k as f64 * step))).collect();
        }
        let decades = high - low;
        let digits: &[f64] = match decades {
            d if d > 2.5 => &[1.0],
            d if d > 1.2 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let every = (decades / 6.0).ceil().max(1.0) as i64;
        let exponents = low.floor() as i64..=high.ceil() as i64;
        let marks = exponents.filter(|e| e % every == 0).flat_map(|exponent| {
            digits.iter().map(move |digit| digit * 10f64.powi(exponent as i32))
        });
        let inside = marks.filter(|mark| (low..=high).contains(&mark.log10()));
        inside.map(|mark| (mark, number(mark))).collect()
    }
}

/// A number in a few characters.
pub fn number(value: f64) -> String {
    let trimmed = |number: String| number.trim_end_matches('0').trim_end_matches('.').to_string();
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.0e}"),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let ticks = |axis, low: f64, high: f64| -> Vec<String> {
            let room = Room::of(axis, [low, high].into_iter(), [0.0, 1.0]).unwrap();
            room.ticks().into_iter().map(|(_, label)| label).collect()
        };
        let (linear, logarithmic) = (Axis::linear(""), Axis::logarithmic(""));
        assert_eq!(ticks(linear, 0.1, 1.0), ["0", "0.5", "1"]);
        assert_eq!(ticks(logarithmic, 1e-4, 1.0), ["1e-4", "0.001", "0.01", "0.1", "1"]);
        assert_eq!(ticks(logarithmic, 64.0, 512.0), ["100", "200", "500"]);
        let decades = ticks(logarithmic, 1e-16, 0.1);
        assert_eq!(decades, ["1e-15", "1e-12", "1e-9", "1e-6", "0.001"]);
    }
}
