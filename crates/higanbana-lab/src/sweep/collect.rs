//! All runs of a plan as one table.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use higanbana_io::run::State;
use serde::Serialize;
use serde_json::Value;

use super::Plan;
use crate::study::csv_line;

/// One run of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its place in the plan.
    pub index: usize,
    /// Its name.
    pub run: String,
    /// `done`, `failed`, `running`, `interrupted`, `missing`, or `unreadable`.
    pub state: &'static str,
    /// Why it is not done, where there is more to say.
    pub reason: Option<String>,
    /// Its parameters.
    pub parameters: Value,
    /// Its result, if it is done.
    pub result: Option<Value>,
}

impl Row {
    /// Whether the run has its result.
    pub fn is_done(&self) -> bool {
        self.result.is_some()
    }
}

/// How every run of a plan stands, with the results of those that are done.
pub fn collect(plan: &Plan, runs: &Path) -> Vec<Row> {
    let row = |run: &super::Planned| {
        let (state, reason, result) = match run.state(runs) {
            Ok(State::Done(result)) => ("done", None, Some(result)),
            Ok(State::Failed(reason)) => ("failed", Some(reason), None),
            Ok(State::Running) => ("running", None, None),
            Ok(State::Interrupted) => ("interrupted", None, None),
            Ok(State::Missing) => ("missing", None, None),
            Err(error) => ("unreadable", Some(error.to_string()), None),
        };
        let parameters = serde_json::to_value(&run.parameters).unwrap_or_default();
        Row { index: run.index, run: run.run.clone(), state, reason, parameters, result }
    };
    plan.runs.iter().map(row).collect()
}

/// The table as JSON, a run a line.
///
/// # Errors
/// When a row is not representable.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    let lines = rows.iter().map(|row| Ok(format!("  {}", serde_json::to_string(row)?)));
    Ok(format!("[\n{}\n]\n", lines.collect::<serde_json::Result<Vec<_>>>()?.join(",\n")))
}

/// The table as CSV: a column for each parameter and each number of the results, named by its
/// path as in the JSON. Arrays are JSON in their cell.
pub fn csv(rows: &[Row]) -> String {
    let flat: Vec<BTreeMap<String, String>> = rows.iter().map(cells).collect();
    let columns: BTreeSet<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    let fixed = ["index", "run", "state", "reason"];
    let mut table = csv_line(fixed.into_iter().chain(columns.iter().map(|name| name.as_str())));
    for (row, cells) in rows.iter().zip(&flat) {
        let index = row.index.to_string();
        let reason = row.reason.as_deref().unwrap_or_default();
        let rest = columns.iter().map(|name| cells.get(*name).map_or("", String::as_str));
        table += &csv_line([index.as_str(), &row.run, row.state, reason].into_iter().chain(rest));
    }
    table
}

fn cells(row: &Row) -> BTreeMap<String, String> {
    let mut cells = BTreeMap::new();
    flatten("parameters", &row.parameters, &mut cells);
    if let Some(result) = &row.result {
        flatten("result", result, &mut cells);
    }
    cells
}

fn flatten(path: &str, value: &Value, cells: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(below) => {
            return below.iter().for_each(|(key, v)| flatten(&format!("{path}.{key}"), v, cells));
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    cells.insert(path.into(), text);
}
