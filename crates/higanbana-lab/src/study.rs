//! The page of an experiment: figures, tables that can be sorted, findings and how to run it again. A pure
//! function of the results.

use minijinja::{context, value::Serde};
use serde::Serialize;

use crate::report::{ReportError, environment};

/// What a page says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Study {
    /// Its heading.
    pub title: String,
    /// What was asked and done, in a paragraph.
    pub lead: String,
    /// What the numbers say, a sentence each; computed from them.
    pub findings: Vec<String>,
    /// The figures.
    pub galleries: Vec<Gallery>,
    /// The numbers.
    pub tables: Vec<Table>,
    /// What failed or was not met, a line each.
    pub notes: Vec<String>,
    /// The command that makes it again.
    pub rerun: String,
}

/// Figures that belong together.
#[derive(Debug, Clone, Serialize)]
pub struct Gallery {
    /// Their heading.
    pub title: String,
    /// What they have in common.
    pub caption: String,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// A figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it shows, and how to read it.
    pub caption: String,
    /// The plot.
    pub svg: String,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// Headings of its columns.
    pub headings: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A line of CSV (RFC 4180). Text that a spreadsheet would take for a formula stands behind an apostrophe, by
/// which spreadsheets know text (OWASP, CSV injection); numbers stay numbers.
pub fn csv_line(fields: impl IntoIterator<Item: AsRef<str>>) -> String {
    let quoted = |field: &str| match field {
        text if is_formula(text) => format!("\"'{}\"", text.replace('"', "\"\"")),
        text if text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        plain => plain.into(),
    };
    fields.into_iter().map(|field| quoted(field.as_ref())).collect::<Vec<_>>().join(",") + "\n"
}

/// Whether a spreadsheet would compute what stands there; in East Asian locales full-width signs count.
fn is_formula(text: &str) -> bool {
    const BEGINNINGS: [char; 11] =
        ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    text.starts_with(BEGINNINGS) && text.parse::<f64>().is_err()
}

impl Table {
    /// As CSV, numbers in full.
    pub fn csv(&self) -> String {
        let cell = |cell: &Cell| cell.value.map_or(cell.text.clone(), |value| value.to_string());
        let head = csv_line(self.headings.iter().map(String::as_str));
        let rows = self.rows.iter().map(|row| csv_line(row.iter().map(cell)));
        std::iter::once(head).chain(rows).collect()
    }
}

/// A cell.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// What stands there.
    pub text: String,
    /// What it is sorted by, where that is a number.
    pub value: Option<f64>,
    /// How strongly it is shaded, from 0 to 1.
    pub shade: Option<f64>,
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: None, shade: None }
    }

    /// A number, shown as it is.
    pub fn count(value: usize) -> Self {
        Self { text: value.to_string(), value: Some(value as f64), shade: None }
    }

    /// A number to three digits; a dash for none.
    pub fn number(value: impl Into<Option<f64>>) -> Self {
        match value.into().filter(|value| value.is_finite()) {
            None => Self::text("–"),
            Some(value) => Self { text: digits(value), value: Some(value), shade: None },
        }
    }

    /// The same, marked as an upper bound where it is no more than that.
    #[must_use]
    pub fn at_most(self, bound: bool) -> Self {
        if bound { Self { text: format!("≤ {}", self.text), ..self } } else { self }
    }

    /// A number, shaded as a share of 1: the field of a heat map.
    #[must_use]
    pub fn shaded(value: impl Into<Option<f64>>) -> Self {
        let cell = Self::number(value);
        Self { shade: cell.value.map(|value| value.clamp(0.0, 1.0)), ..cell }
    }
}

/// Three digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Names in a sentence: `a, b and c`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names[..] {
        [] => "none".into(),
        [only] => only.into(),
        [ref first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Study {
    /// The page.
    ///
    /// # Errors
    /// When the template is at fault.
    pub fn page(&self) -> Result<String, ReportError> {
        let mut environment = environment();
        environment.add_template("study.html", include_str!("templates/study.html"))?;
        let version = env!("CARGO_PKG_VERSION");
        Ok(environment
            .get_template("study.html")?
            .render(context! { study => Serde(self), version => version })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_text_and_numbers_numbers() {
        let fields = [
            "=1+1", "+x", "-a,\"b\"", "@SUM(A1)", "\tx", "\r=1", "＝1", "-1.5", "+2e-3", "a=b", "–",
        ];
        assert_eq!(
            csv_line(fields),
            "\"'=1+1\",\"'+x\",\"'-a,\"\"b\"\"\",\"'@SUM(A1)\",\"'\tx\",\"'\r=1\",\"'＝1\",-1.5,+2e-3,a=b,–\n"
        );
    }
}
