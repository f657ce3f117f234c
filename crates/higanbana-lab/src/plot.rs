//! Plots of several series as SVG, in the colours of the page that they stand on: lines with bands, and points
//! where a line would say too much.

use std::fmt::Write;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;

/// Colours that the page has, and ways to dash a line; a series takes the next of each in turn.
const COLOURS: usize = 8;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    Linear,
    /// By their logarithms; what is not positive has no place.
    Logarithmic,
}

/// An axis.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// What it measures.
    pub label: &'static str,
    /// How.
    pub scale: Scale,
}

impl Axis {
    /// In proportion.
    pub fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear }
    }

    /// By logarithms.
    pub fn logarithmic(label: &'static str) -> Self {
        Self { label, scale: Scale::Logarithmic }
    }
}

/// A place of a series, with the band around it.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Least and largest of what `y` is the mean of.
    pub band: [f64; 2],
}

impl Point {
    /// Without a band.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, band: [y; 2] }
    }

    /// The mean of values, with a band from the least to the largest; none of no values.
    pub fn of_mean(x: f64, values: &[f64]) -> Option<Self> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (!values.is_empty()).then_some(Self { x, y: mean, band: [least, most] })
    }
}

/// A named series.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// Whether points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Lines through points.
    Lines,
    /// Lines alone, for many points.
    Curves,
}

/// Draws series; a legend follows.
pub fn plot(title: &str, [across, up]: [Axis; 2], marks: Marks, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let Some(x) = Room::of(across.scale, points().map(|point| point.x), [LEFT, WIDTH - RIGHT])
    else {
        return String::new();
    };
    let ups = points().flat_map(|point| [point.y, point.band[0], point.band[1]]);
    let Some(y) = Room::of(up.scale, ups, [HEIGHT - BOTTOM, TOP]) else { return String::new() };
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    axes(&mut svg, &x, &y, [across.label, up.label]);
    for (index, series) in series.iter().enumerate() {
        draw(&mut svg, index, series, &x, &y, marks);
    }
    svg.push_str("</svg>");
    legend(&mut svg, series);
    svg
}

/// Where values lie between two edges.
struct Room {
    scale: Scale,
    low: f64,
    high: f64,
    edges: [f64; 2],
}

impl Room {
    fn of(scale: Scale, values: impl Iterator<Item = f64>, edges: [f64; 2]) -> Option<Self> {
        let placed = values.filter_map(|value| place(scale, value));
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

    fn at(&self, value: f64) -> Option<f64> {
        let share = (place(self.scale, value)? - self.low) / (self.high - self.low);
        Some(self.edges[0] + share * (self.edges[1] - self.edges[0]))
    }

    /// Places to mark with what stands there.
    fn ticks(&self) -> Vec<(f64, String)> {
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

fn place(scale: Scale, value: f64) -> Option<f64> {
    match scale {
        Scale::Linear => value.is_finite().then_some(value),
        Scale::Logarithmic => (value > 0.0 && value.is_finite()).then(|| value.log10()),
    }
}

fn axes(svg: &mut String, x: &Room, y: &Room, [across, up]: [&str; 2]) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (value, label) in y.ticks() {
        let at = y.at(value).expect("a tick has a place");
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 5.0,
            at + 4.0
        );
    }
    for (value, label) in x.ticks() {
        let at = x.at(value).expect("a tick has a place");
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 15.0
        );
    }
    let (middle, height) = (0.5 * (LEFT + right), 0.5 * (TOP + bottom));
    let _ = write!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(12 {height}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 8.0,
        escape(across),
        escape(up)
    );
}

fn draw(svg: &mut String, index: usize, series: &Series, x: &Room, y: &Room, marks: Marks) {
    let name = escape(&series.name);
    let placed: Vec<(f64, f64, [f64; 2], &Point)> = series
        .points
        .iter()
        .filter_map(|point| {
            let band = point.band.map(|edge| y.at(edge));
            let up = y.at(point.y)?;
            Some((x.at(point.x)?, up, band.map(|edge| edge.unwrap_or(up)), point))
        })
        .collect();
    let _ = write!(svg, "<g class=\"{}\">", class(index));
    if placed.iter().any(|(.., band, _)| (band[0] - band[1]).abs() > 0.5) {
        let low = placed.iter().map(|(x, _, band, _)| format!("{x:.1} {:.1}", band[0]));
        let high = placed.iter().rev().map(|(x, _, band, _)| format!("{x:.1} {:.1}", band[1]));
        let path = low.chain(high).collect::<Vec<_>>().join("L");
        let _ = write!(svg, "<path class=\"band\" d=\"M{path}Z\"/>");
    }
    if placed.len() > 1 {
        let path: Vec<String> = placed.iter().map(|(x, y, ..)| format!("{x:.1} {y:.1}")).collect();
        let _ = write!(
            svg,
            "<path class=\"line\" d=\"M{}\"><title>{name}</title></path>",
            path.join("L")
        );
    }
    if marks == Marks::Lines || placed.len() == 1 {
        for (x, y, _, point) in &placed {
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{name}: {} at {}</title></circle>",
                number(point.y),
                number(point.x)
            );
        }
    }
    svg.push_str("</g>");
}

fn legend(svg: &mut String, series: &[Series]) {
    svg.push_str("<ul class=\"legend\">");
    for (index, series) in series.iter().enumerate() {
        let _ = write!(
            svg,
            "<li><svg class=\"{}\" viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"line\" d=\"M0 4H26\"/>\
             <circle cx=\"13\" cy=\"4\" r=\"3\"/></svg>{}</li>",
            class(index),
            escape(&series.name)
        );
    }
    svg.push_str("</ul>");
}

/// Classes of the colour and the dashes of the n-th series.
fn class(index: usize) -> String {
    format!("k{} d{}", index % COLOURS, (index / COLOURS) % 3)
}

/// A number in a few characters.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.0e}"),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').into()
}

/// Text as HTML has it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        let points = points.iter().map(|(x, y)| Point::new(*x, *y)).collect();
        Series { name: name.into(), points }
    }

    #[test]
    fn every_series_is_drawn_and_named() {
        let axes = [Axis::logarithmic("parameters"), Axis::linear("rank")];
        let all = [series("a<b", &[(1.0, 1.0), (100.0, 3.0)]), series("b", &[(10.0, f64::NAN)])];
        let svg = plot("p", axes, Marks::Lines, &all);
        assert!(svg.contains("a&lt;b: 3 at 100") && svg.contains("k1 d0") && !svg.contains("NaN"));
        assert!(plot("p", axes, Marks::Lines, &[series("c", &[(0.0, 1.0)])]).is_empty());
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |scale, low: f64, high: f64| -> Vec<String> {
            let room = Room::of(scale, [low, high].into_iter(), [0.0, 1.0]).unwrap();
            room.ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(ticks(Scale::Linear, 0.1, 1.0), ["0", "0.5", "1"]);
        assert_eq!(ticks(Scale::Logarithmic, 1e-4, 1.0), ["1e-4", "0.001", "0.01", "0.1", "1"]);
        assert_eq!(ticks(Scale::Logarithmic, 64.0, 512.0), ["100", "200", "500"]);
    }

    #[test]
    fn a_mean_has_a_band() {
        let point = Point::of_mean(1.0, &[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((point.y, point.band), (3.0, [1.0, 6.0]));
        assert!(Point::of_mean(1.0, &[]).is_none());
    }
}
