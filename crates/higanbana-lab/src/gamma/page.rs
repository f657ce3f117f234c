//! The page of the chapter.

use higanbana_train::Role;
use minijinja::{context, value::Serde};
use serde::Serialize;

use super::{Alpha, Cell, Chapter, Curve, Start, THRESHOLD, TYPES, Worst};
use crate::{
    plot::{Axis, Marks, Point, Series, Style, plot},
    report::{ReportError, environment, mathml},
};

/// A line of the table of optimizers.
#[derive(Debug, Serialize)]
struct Optimizer {
    name: &'static str,
    title: &'static str,
    reference: &'static str,
    formula: String,
    k: i32,
    j: i32,
    c: i32,
    why: &'static str,
    scales: Vec<(String, i32, &'static str)>,
    worst: [f64; 2],
    controls: Vec<Result<f64, String>>,
}

/// A line of the table of cells.
#[derive(Debug, Serialize)]
struct Line<'a> {
    adapter: &'a str,
    degree: u32,
    cells: Vec<Option<&'a Cell>>,
}

/// The theorem, as the page has it.
const STATEMENT: [(&str, &str); 6] = [
    ("map", r"T(s_1 A_1, \dots, s_n A_n) = \Big(\prod_i s_i^{d_i}\Big)\, T(A_1, \dots, A_n)"),
    ("layer", r"W = W_0 + \gamma\, T(A_1, \dots, A_n)"),
    ("initial", r"A_i \mapsto a_i A_i"),
    ("rate", r"\eta \mapsto a_i^{\,c}\,\eta"),
    ("product", r"\prod_i a_i^{d_i} = \gamma"),
    ("same", r"\gamma\, T(A(t)) = T(A'(t)) \quad \text{for all } t"),
];

/// The page.
///
/// # Errors
/// When a formula is not LaTeX, or the template is at fault.
pub fn page(chapter: &Chapter) -> Result<String, ReportError> {
    let mut environment = environment();
    environment.add_template("gamma.html", include_str!("../templates/gamma.html"))?;
    let statement = STATEMENT.iter().map(|(name, latex)| Ok((*name, mathml(latex)?)));
    let statement: std::collections::BTreeMap<_, _> =
        statement.collect::<Result<_, ReportError>>()?;
    let names: Vec<&str> = chapter.rules.iter().map(|rule| rule.name).collect();
    let page = environment.get_template("gamma.html")?.render(context! {
        statement => Serde(&statement),
        optimizers => Serde(&table(chapter)?),
        lines => Serde(&lines(chapter)),
        names => Serde(&names),
        controls => Serde(&super::Control::ALL.map(super::Control::name)),
        worst => Serde(&Worst::of(&chapter.cells)),
        cells => chapter.cells.len(),
        unet => Serde(&chapter.unet),
        unet_worst => Serde(&Worst::of(&chapter.unet)),
        half => Serde(&chapter.half),
        types => Serde(&TYPES.map(|(name, _)| name)),
        failures => Serde(&chapter.failures),
        outside => Serde(&chapter.outside),
        alphas => Serde(&alphas(chapter)),
        without_alpha => without_alpha(chapter),
        start => Start::Noise.name(),
        plan => Serde(&chapter.plan),
        threshold => THRESHOLD,
        losses => drawn(&chapter.losses, Axis::linear("loss").up_to(cut(&chapter.losses)), 0),
        // The first two of the losses are those with γ and without.
        departures => drawn(&chapter.departures, Axis::logarithmic("deviation"), 2),
        growth => drawn(&chapter.growth, Axis::logarithmic("deviation"), 0),
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// Curves over their steps, in styles from the `first` on: what stands in two figures has one colour.
fn drawn(curves: &[Curve], up: Axis, first: usize) -> String {
    let series = curves.iter().enumerate().map(|(n, Curve { name, values })| {
        let points = values.iter().enumerate().map(|(at, y)| Point::new(at as f64 + 1.0, *y));
        Series { name: name.clone(), style: Style::nth(first + n), points: points.collect() }
    });
    plot(up.label, [Axis::linear("step"), up], Marks::Curves, &series.collect::<Vec<_>>())
}

/// Well above what the first curve reaches.
fn cut(curves: &[Curve]) -> f64 {
    let first = curves.first().map_or(&[][..], |curve| &curve.values);
    1.25 * first.iter().copied().fold(f64::MIN_POSITIVE, f64::max)
}

fn table(chapter: &Chapter) -> Result<Vec<Optimizer>, ReportError> {
    let rows = chapter.rules.iter().map(|rule| {
        let cells = || chapter.cells.iter().filter(|cell| cell.optimizer == rule.name);
        let largest = |index: usize| cells().map(|cell| cell.rounded[index]).fold(0.0, f64::max);
        let control = |control: super::Control| match control.applies(rule) {
            Err(reason) => Err(reason),
            Ok(()) => {
                let all = cells().filter_map(|cell| cell.controls.get(control.name()));
                Ok(all.copied().fold(f64::INFINITY, f64::min))
            }
        };
        let scaled = rule.hyperparameters.iter().filter(|h| h.role != Role::Number);
        Ok(Optimizer {
            name: rule.name,
            title: rule.title,
            reference: rule.reference,
            formula: mathml(rule.formula)?,
            k: rule.gradient_degree,
            j: rule.parameter_degree,
            c: rule.c(),
            why: rule.why,
            scales: scaled.map(|h| (h.name.to_string(), h.power, h.why)).collect(),
            worst: [largest(0), largest(1)],
            controls: super::Control::ALL.into_iter().map(control).collect(),
        })
    });
    rows.collect()
}

/// A line of the table of real $\alpha$s.
#[derive(Debug, Serialize)]
struct RealAlpha<'a> {
    adapter: &'a str,
    alphas: &'a [Alpha; 4],
}

fn alphas(chapter: &Chapter) -> Vec<RealAlpha<'_>> {
    let cells = chapter.cells.iter();
    cells
        .filter_map(|cell| Some(RealAlpha { adapter: &cell.adapter, alphas: cell.alpha.as_ref()? }))
        .collect()
}

/// Adapters without one, with the reason.
fn without_alpha(chapter: &Chapter) -> String {
    let why = |cell: &Cell| Some(format!("{} ({})", cell.adapter, cell.no_alpha?));
    chapter.cells.iter().filter_map(why).collect::<Vec<_>>().join(", ")
}

fn lines(chapter: &Chapter) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = Vec::new();
    for cell in &chapter.cells {
        if lines.last().is_none_or(|line| line.adapter != cell.adapter) {
            let cells = vec![None; chapter.rules.len()];
            lines.push(Line { adapter: &cell.adapter, degree: cell.degree, cells });
        }
        let column = chapter.rules.iter().position(|rule| rule.name == cell.optimizer);
        if let (Some(line), Some(column)) = (lines.last_mut(), column) {
            line.cells[column] = Some(cell);
        }
    }
    lines
}
