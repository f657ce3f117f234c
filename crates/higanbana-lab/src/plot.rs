//! Plots of several series as SVG, in the colours of the page that they stand on: lines with bands, and marks
//! where a line alone would say too little. `plot.css` has the colours, marks and dashes of a [`Style`].

mod room;
mod style;

use std::fmt::Write;

pub use room::{Axis, Scale, number};
pub use style::{Palette, Style};

use room::Room;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 46.0;

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
    /// How it is drawn.
    pub style: Style,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// Whether points are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Lines through marks.
    Lines,
    /// Lines alone, for many points.
    Curves,
}

/// Draws series; a legend follows. Nothing, where no point has a place.
pub fn plot(title: &str, [across, up]: [Axis; 2], marks: Marks, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let Some(x) = Room::of(across, points().map(|point| point.x), [LEFT, WIDTH - RIGHT]) else {
        return String::new();
    };
    let ups = points().flat_map(|point| [point.y, point.band[0], point.band[1]]);
    let Some(y) = Room::of(up, ups, [HEIGHT - BOTTOM, TOP]) else { return String::new() };
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    axes(&mut svg, &x, &y, [across.label, up.label]);
    for series in series {
        draw(&mut svg, series, &x, &y, marks);
    }
    svg.push_str("</svg>");
    legend(&mut svg, series, marks);
    svg
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

fn draw(svg: &mut String, series: &Series, x: &Room, y: &Room, marks: Marks) {
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
    let _ = write!(svg, "<g class=\"{}\">", series.style.class());
    if placed.iter().any(|(.., band, _)| (band[0] - band[1]).abs() > 0.5) {
        let low = placed.iter().map(|(x, _, band, _)| format!("{x:.1} {:.1}", band[0]));
        let high = placed.iter().rev().map(|(x, _, band, _)| format!("{x:.1} {:.1}", band[1]));
        let path = low.chain(high).collect::<Vec<_>>().join("L");
        let _ = write!(svg, "<path class=\"band\" d=\"M{path}Z\"/>");
    }
    if placed.len() > 1 {
        let path: Vec<String> = placed.iter().map(|(x, y, ..)| format!("{x:.1} {y:.1}")).collect();
        let path = path.join("L");
        let _ = write!(svg, "<path class=\"line\" d=\"M{path}\"><title>{name}</title></path>");
    }
    if marks == Marks::Lines || placed.len() == 1 {
        for (x, y, _, point) in &placed {
            let (mark, up, across) = (series.style.mark(*x, *y), number(point.y), number(point.x));
            let _ = write!(
                svg,
                "<path class=\"mark\" d=\"{mark}\"><title>{name}: {up} at {across}</title></path>"
            );
        }
    }
    svg.push_str("</g>");
}

fn legend(svg: &mut String, series: &[Series], marks: Marks) {
    svg.push_str("<ul class=\"legend\">");
    for Series { name, style, points } in series {
        let (class, name) = (style.class(), escape(name));
        let mark = match marks == Marks::Lines || points.len() == 1 {
            true => format!("<path class=\"mark\" d=\"{}\"/>", style.mark(13.0, 5.0)),
            false => String::new(),
        };
        let _ = write!(
            svg,
            "<li><svg class=\"{class}\" viewBox=\"0 0 26 10\" aria-hidden=\"true\">\
             <path class=\"line\" d=\"M0 5H26\"/>{mark}</svg>{name}</li>"
        );
    }
    svg.push_str("</ul>");
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
        Series { name: name.into(), style: Style::nth(1), points }
    }

    #[test]
    fn every_series_is_drawn_and_named() {
        let axes = [Axis::logarithmic("parameters"), Axis::linear("rank")];
        let all = [series("a<b", &[(1.0, 1.0), (100.0, 3.0)]), series("b", &[(10.0, f64::NAN)])];
        let svg = plot("p", axes, Marks::Lines, &all);
        assert!(svg.contains("a&lt;b: 3 at 100") && svg.contains(">b</li>"), "{svg}");
        assert!(
            !svg.contains("NaN")
                && svg.contains(&format!("<g class=\"{}\">", Style::nth(1).class()))
        );
        let nothing = [series("c", &[(0.0, 1.0)])];
        assert!(plot("p", axes, Marks::Lines, &nothing).is_empty());
    }

    #[test]
    fn what_leaves_the_axis_stops_at_its_edge() {
        let up = Axis::linear("loss").up_to(2.0);
        let axes = [Axis::linear("step"), up];
        let svg = plot("p", axes, Marks::Curves, &[series("a", &[(0.0, 1.0), (1.0, 1e9)])]);
        let path = svg.split("class=\"line\" d=\"M").nth(1).unwrap().split('"').next().unwrap();
        let heights =
            path.split('L').map(|at| at.split(' ').nth(1).unwrap().parse::<f64>().unwrap());
        assert!(heights.clone().count() == 2 && heights.clone().all(|at| at > 0.0), "{path}");
    }

    #[test]
    fn a_mean_has_a_band() {
        let point = Point::of_mean(1.0, &[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((point.y, point.band), (3.0, [1.0, 6.0]));
        assert!(Point::of_mean(1.0, &[]).is_none());
    }
}
