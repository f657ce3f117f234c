//! Chapters: an experiment, the runs that answer its question, and the page that shows them.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use higanbana_io::run::{Begun, Run, identity};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    experiment::{Experiment, Failure, Lab},
    report::ReportError,
    study::Study,
};

/// An experiment with a plan and a page.
pub trait Chapter: Experiment<Parameters: Sync, Outcome: DeserializeOwned> {
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

/// Performs runs, as many at a time as there are processors, each in a folder of its own below `folder`; what is
/// done there already is not done again. `progress` hears of each that is done, and how many there are.
///
/// # Errors
/// When a folder cannot be used.
pub fn perform<C: Chapter>(
    lab: &Lab,
    plan: &[C::Parameters],
    folder: &Path,
    progress: impl Fn(&str, usize) + Sync,
) -> Result<Performed, Failure> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some((index, parameters)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            plan.get(index).map(|parameters| (index, parameters))
        } {
            let answer = answer::<C>(lab, parameters, folder);
            progress(C::TITLE, plan.len());
            done.lock().expect("nothing panics while it holds this").push((index, answer));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().expect("all threads have ended");
    done.sort_by_key(|(index, _)| *index);
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for (index, answer) in done {
        let parameters = serde_json::to_value(&plan[index])?;
        match answer? {
            Ok(outcome) => {
                let record = serde_json::json!({ "parameters": parameters, "outcome": outcome });
                lines.push(format!("  {}", rounded(record)));
            }
            Err(reason) => failures.push(format!("{parameters}: {reason}")),
        }
    }
    Ok(Performed { results: format!("[\n{}\n]\n", lines.join(",\n")), failures })
}

/// The result of one run, or why it has none.
fn answer<C: Chapter>(
    lab: &Lab,
    parameters: &C::Parameters,
    folder: &Path,
) -> Result<Result<Value, String>, Failure> {
    let mut configuration = toml::Table::try_from(parameters)?;
    configuration.insert("experiment".into(), C::NAME.into());
    let folder = folder.join(&identity(&configuration)[..16]);
    let mut run = match Run::begin(&folder, &configuration)? {
        Begun::Done(result) => return Ok(Ok(result)),
        Begun::Open(run) => run,
    };
    match C::run(parameters, lab, &mut run, &|_, _| ()) {
        Ok(outcome) => Ok(Ok(run.finish(&outcome)?)),
        Err(error) => {
            run.fail(&error.to_string())?;
            Ok(Err(error.to_string()))
        }
    }
}

/// The page of results as [`perform`] gives them.
///
/// # Errors
/// When they are not those of this chapter.
pub fn page<C: Chapter>(results: &str, failures: &[String]) -> Result<String, ReportError> {
    let records: Vec<Record<C>> = serde_json::from_str(results)?;
    let mut study = C::study(&records);
    study.notes.extend(failures.iter().map(|failure| format!("Failed: {failure}")));
    study.page()
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
