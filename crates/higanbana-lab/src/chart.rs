//! Line charts as SVG, in the colours of the page that they stand on.

use std::fmt::Write;

use crate::gamma::Curve;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 10.0;

/// How values lie on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// In proportion.
    Linear,
    /// By their exponents; what is not positive is left out.
    Logarithmic,
}

impl Axis {
    fn place(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear => value.is_finite().then_some(value),
            Self::Logarithmic => (value > 0.0 && value.is_finite()).then(|| value.log10()),
        }
    }

    /// Some five places to mark; whole exponents.
    fn ticks(self, low: f64, high: f64) -> Vec<f64> {
        let step = match self {
            Self::Linear => (high - low) / 4.0,
            Self::Logarithmic => ((high - low) / 4.0).ceil().max(1.0),
        };
        let count = ((high - low) / step + 1e-9) as usize;
        (0..=count).map(|tick| low + step * tick as f64).collect()
    }

    fn label(self, place: f64) -> String {
        match self {
            Self::Linear => format!("{place:.1}"),
            Self::Logarithmic => format!("1e{place:.0}"),
        }
    }
}

/// Curves over their steps. The n-th has the class `c(first + n)`, for the page to colour and to dash: what
/// stands in two charts has one colour. Values well above the first curve's largest are cut off on a
/// linear axis.
pub fn chart(what: &str, curves: &[Curve], axis: Axis, first: usize) -> String {
    let places = |curve: &Curve| -> Vec<f64> {
        curve.values.iter().filter_map(|value| axis.place(*value)).collect()
    };
    let all: Vec<f64> = curves.iter().flat_map(places).collect();
    let leading = curves.first().map(places).unwrap_or_default();
    let fold =
        |values: &[f64], by: fn(f64, f64) -> f64, start| values.iter().copied().fold(start, by);
    let (low, high) = match axis {
        Axis::Linear => {
            let high = fold(&leading, f64::max, f64::MIN_POSITIVE) * 1.25;
            (0.0, high.min(fold(&all, f64::max, f64::MIN_POSITIVE) * 1.05))
        }
        Axis::Logarithmic => {
            (fold(&all, f64::min, f64::INFINITY).floor(), fold(&all, f64::max, -400.0).ceil())
        }
    };
    let steps = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(1).max(2);
    let x = |step: usize| LEFT + (WIDTH - LEFT - 8.0) * step as f64 / (steps - 1) as f64;
    let y = |place: f64| {
        let share = ((place - low) / (high - low)).clamp(0.0, 1.02);
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share
    };
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{what}\">"
    );
    for place in axis.ticks(low, high) {
        let (at, right, label) = (y(place), WIDTH - 8.0, axis.label(place));
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for step in [0, steps / 2, steps] {
        let at = x(step.saturating_sub(1));
        let anchor = if step == steps { "end" } else { "middle" };
        let (label, down) = (step.max(1), HEIGHT - BOTTOM + 18.0);
        let _ =
            write!(svg, "<text x=\"{at:.1}\" y=\"{down}\" text-anchor=\"{anchor}\">{label}</text>");
    }
    for (index, curve) in (first..).zip(curves) {
        let mut path = String::new();
        for (step, value) in curve.values.iter().enumerate() {
            if let Some(place) = axis.place(*value) {
                let command = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{command}{:.1} {:.1}", x(step), y(place));
            }
        }
        let name = &curve.name;
        let _ = write!(svg, "<path class=\"c{index}\" d=\"{path}\"><title>{name}</title></path>");
    }
    svg.push_str("</svg><ul class=\"legend\">");
    for (index, curve) in (first..).zip(curves) {
        let _ = write!(
            svg,
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"c{index}\" d=\"M0 4H24\"/></svg>{}</li>",
            curve.name
        );
    }
    svg.push_str("</ul>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_drawn_and_named() {
        let curve = |name: &str, values: &[f64]| Curve { name: name.into(), values: values.into() };
        let svg = chart(
            "loss",
            &[curve("a", &[2.0, 1.0]), curve("b", &[1.0, f64::NAN])],
            Axis::Linear,
            2,
        );
        assert!(svg.contains("<path class=\"c2\" d=\"M64.0 "), "{svg}");
        assert!(svg.contains("<title>b</title>") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn exponents_are_marked_once() {
        assert_eq!(Axis::Logarithmic.ticks(-3.0, 0.0), [-3.0, -2.0, -1.0, 0.0]);
        assert_eq!(Axis::Logarithmic.ticks(-16.0, -1.0), [-16.0, -12.0, -8.0, -4.0]);
        assert_eq!(Axis::Linear.ticks(0.0, 2.0), [0.0, 0.5, 1.0, 1.5, 2.0]);
    }

    #[test]
    fn zeros_have_no_logarithm() {
        let curve = Curve { name: "a".into(), values: vec![0.0, 1e-15, 1e-12] };
        let svg = chart("deviation", &[curve], Axis::Logarithmic, 0);
        assert!(svg.contains("1e-15") && svg.contains("1e-12") && !svg.contains("inf"), "{svg}");
    }
}
