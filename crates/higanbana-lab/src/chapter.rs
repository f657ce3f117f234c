//! Chapters: an experiment, the runs that answer its question, and the page that shows them.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    experiment::{Experiment, Failure, Lab},
    parallel,
    report::ReportError,
    study::Study,
    sweep::Plan,
};

/// An experiment with a plan and a page.
pub trait Chapter: Experiment<Outcome: DeserializeOwned> {
    /// The runs at the default size, or of the whole grid.
    ///
    /// # Errors
    /// When the plan contradicts itself.
    fn plan(lab: &Lab, full: bool) -> Result<Vec<Self::Parameters>, Failure>;

    /// What the results say. A pure function: no clock, no machine.
    fn study(records: &[Record<Self>]) -> Study;
}

/// A run with its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Record<C: Chapter + ?Sized> {
    /// What was asked.
    pub parameters: C::Parameters,
    /// The answer.
    pub outcome: C::Outcome,
}

/// What runs of a chapter gave.
#[derive(Debug)]
pub struct Performed {
    /// The results as JSON, a run a line, with six digits.
    pub results: String,
    /// Runs that failed, and why.
    pub failures: Vec<String>,
}

/// Performs a plan here, as many runs at a time as there are processors, each in a folder of its own below `runs`;
/// what is done there already is not done again. `progress` hears of each that is done, and how many there are.
///
/// # Errors
/// When a result is not that of the experiment.
pub fn perform<C: Chapter>(
    lab: &Lab,
    plan: &Plan,
    runs: &Path,
    progress: impl Fn(&str, usize) + Sync,
) -> Result<Performed, Failure> {
    let performed = parallel::each(&plan.runs, parallel::processors(), |run| {
        let performed = run.perform(lab, runs, &|_, _| ());
        progress(C::TITLE, plan.runs.len());
        performed
    });
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for (run, performed) in plan.runs.iter().zip(performed) {
        match performed {
            Ok(performed) => {
                let record = json!({ "parameters": run.parameters, "outcome": performed.result });
                lines.push(format!("  {}", rounded(record)));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Ok(Performed { results: format!("[\n{}\n]\n", lines.join(",\n")), failures })
}

/// The page of results as [`perform`] gives them.
///
/// # Errors
/// When they are not those of this chapter.
pub fn page<C: Chapter>(results: &str, failures: &[String]) -> Result<String, ReportError> {
    let mut study = study::<C>(results)?;
    study.notes.extend(failures.iter().map(|failure| format!("Failed: {failure}")));
    study.page()
}

/// What the page says.
///
/// # Errors
/// When the results are not those of this chapter.
pub fn study<C: Chapter>(results: &str) -> Result<Study, ReportError> {
    let records: Vec<Record<C>> = serde_json::from_str(results)?;
    Ok(C::study(&records))
}

/// Six digits of every number: more is not the same on every processor.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().unwrap_or_default();
            format!("{exact:.5e}").parse::<f64>().unwrap_or(exact).into()
        }
        Value::Array(items) => items.into_iter().map(rounded).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, rounded(value))).collect()
        }
        other => other,
    }
}
