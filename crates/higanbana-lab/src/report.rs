//! Pages: self-contained HTML, a pure function of the results.

use higanbana_core::Registry;
use minijinja::{Environment, UndefinedBehavior, context, value::Serde};
use serde::Serialize;

use crate::{
    adapters::{FLOOR, NUMBERS, Row},
    numbers::written,
};

/// An algorithm's line in the page's table of formulas.
#[derive(Debug, Clone, Serialize)]
struct Algorithm {
    name: &'static str,
    title: &'static str,
    reference: &'static str,
    formula: String,
    rank: String,
    parameters: String,
}

/// What went wrong while a page was built.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The template is at fault.
    #[error("report template: {0}")]
    Template(#[from] minijinja::Error),
    /// The results are not those of the page.
    #[error("results: {0}")]
    Results(#[from] serde_json::Error),
    /// A formula is.
    #[error("formula `{0}`: {1}")]
    Formula(String, String),
}

/// Results of the chapter [`crate::adapters`] as a file: JSON, one line for each, with the digits of their [kinds](NUMBERS).
///
/// # Errors
/// When one is not representable.
pub fn results(rows: &[Row]) -> serde_json::Result<String> {
    let line = |row| Ok(format!("  {}", written(NUMBERS, serde_json::to_value(row)?)));
    let lines = rows.iter().map(line).collect::<serde_json::Result<Vec<_>>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// The page of [results].
///
/// # Errors
/// When they are not those of this chapter, or a formula of the registry is not LaTeX.
pub fn adapters(results: &str, registry: &Registry) -> Result<String, ReportError> {
    let rows: Vec<Row> = serde_json::from_str(results)?;
    let algorithms = registry
        .iter()
        .map(|kind| {
            Ok(Algorithm {
                name: kind.name(),
                title: kind.title(),
                reference: kind.reference(),
                formula: mathml(kind.formula())?,
                rank: mathml(kind.rank())?,
                parameters: mathml(kind.parameters())?,
            })
        })
        .collect::<Result<Vec<_>, ReportError>>()?;
    let worst = rows.iter().max_by(|a, b| a.deviation.total_cmp(&b.deviation));
    let mut environment = environment();
    environment.add_template("adapters.html", include_str!("templates/adapters.html"))?;
    let page = environment.get_template("adapters.html")?.render(context! {
        rows => Serde(&rows),
        algorithms => Serde(&algorithms),
        worst => Serde(worst),
        floor => FLOOR,
        weights => rows.iter().map(|row| row.weights).sum::<usize>(),
        exact => rows.iter().filter(|row| row.reload == crate::adapters::Reload::Exact).count(),
        version => env!("CARGO_PKG_VERSION"),
    })?;
    Ok(page)
}

/// Pages of all chapters: file, title, and the question.
const CHAPTERS: [[&str; 3]; 6] = [
    [
        "adapters.html",
        "The adapters against LyCORIS",
        "Does every adapter act as LyCORIS’s own does?",
    ],
    [
        "gamma.html",
        "Training with γ and without",
        "Is training with the merge ratio γ the same as training without it?",
    ],
    [
        "rank.html",
        "Rank for the parameters it costs",
        "Which rank does each adapter attain, and how free is it?",
    ],
    [
        "expressivity.html",
        "How near each adapter comes",
        "What can each adapter express for the parameters it spends?",
    ],
    [
        "spectra.html",
        "The spectrum of an update while it is trained",
        "What becomes of rank and size in training?",
    ],
    ["initialisation.html", "The scale of a new adapter", "Which scale is stable in the rank?"],
];

/// The page of contents, of those pages that there are.
///
/// # Errors
/// When the template is at fault.
pub fn index(is_there: impl Fn(&str) -> bool) -> Result<String, ReportError> {
    let mut environment = environment();
    environment.add_template("index.html", include_str!("templates/index.html"))?;
    let chapters: Vec<_> = CHAPTERS.iter().filter(|[file, ..]| is_there(file)).collect();
    let context = context! { chapters => Serde(&chapters), version => env!("CARGO_PKG_VERSION") };
    Ok(environment.get_template("index.html")?.render(context)?)
}

/// Whether a file that begins so is a page of this toolkit, which another may replace.
pub fn is_page(begin: &[u8]) -> bool {
    let head = PAGE.split("{%").next().unwrap_or_default();
    begin.strip_prefix(head.as_bytes()).is_some_and(|title| title.starts_with(b"Higanbana"))
}

const PAGE: &str = include_str!("templates/page.html");

/// What templates of pages are built upon.
const SHARED: [(&str, &str); 2] =
    [("page.html", PAGE), ("plot.css", include_str!("templates/plot.css"))];

/// What every page needs.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A name that is not there is a fault of the page, not an empty place in it.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in SHARED {
        environment.add_template(name, text).expect("the committed templates are templates");
    }
    environment.add_filter("scientific", |value: f64| format!("{value:.1e}"));
    environment.add_filter("shortest", |value: f64| match value {
        0.0 => "0".into(),
        _ => format!("{value:e}"),
    });
    environment.add_filter("deviation", |value: f64| match value {
        0.0 => "0".into(),
        _ => format!("{value:.0e}"),
    });
    environment.add_filter("factor", |value: f64| match value.log2() {
        power if power.fract() == 0.0 => format!("2<sup>{power}</sup>"),
        _ => format!("{value:.2}"),
    });
    environment
}

/// LaTeX as MathML, which browsers draw without script or network.
pub(crate) fn mathml(latex: &str) -> Result<String, ReportError> {
    use pulldown_latex::{Parser, RenderConfig, Storage, mathml::push_mathml};
    let storage = Storage::new();
    let mut html = String::new();
    push_mathml(&mut html, Parser::new(latex, &storage), RenderConfig::default())
        .map_err(|error| ReportError::Formula(latex.into(), error.to_string()))?;
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_an_error() {
        let render = |template| environment().render_str(template, context! { there => 1 });
        assert_eq!(render("{{ there }}").unwrap(), "1");
        assert!(render("{{ nowhere }}").is_err());
        assert!(render("{{ there.nowhere.either }}").is_err());
    }
}
