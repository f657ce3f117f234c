//! Chapters: an experiment, the runs that answer its question, and the page that shows them.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    experiment::{Experiment, Failure, Lab},
    numbers::{Numbers, written},
    parallel,
    report::ReportError,
    study::Study,
    sweep::{self, PerformError, Plan, Planned},
};

/// An experiment with a plan and a page.
pub trait Chapter: Experiment<Outcome: DeserializeOwned> {
    /// Whether runs of it may be performed side by side in one process: none draws from Burn's generator, which all
    /// threads share ([randomness](crate::experiment#randomness)). [`unsteady`] finds those for which it is not so.
    const SIDE_BY_SIDE: bool = false;

    /// Of which kinds the numbers of an outcome are, where they are not [computed](Numbers::COMPUTED) to six digits.
    const NUMBERS: &'static [Numbers] = &[];

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
    /// The results as JSON, a run a line, with the digits of their [kinds](Chapter::NUMBERS).
    pub results: String,
    /// Runs that failed, and why.
    pub failures: Vec<String>,
}

/// Performs a plan here, each run in a folder of its own below `runs`; what is done there already is not done again.
/// Where they may be [side by side](Chapter::SIDE_BY_SIDE), there are as many at a time as there are processors.
/// `progress` hears of each that is done, and how many there are.
///
/// # Errors
/// When a result is not that of the experiment.
pub fn perform<C: Chapter>(
    lab: &Lab,
    plan: &Plan,
    runs: &Path,
    progress: impl Fn(&str, usize) + Sync,
) -> Result<Performed, Failure> {
    let total = plan.runs.len();
    let performed = outcomes::<C>(lab, &plan.runs, runs, parallel::processors(), || {
        progress(C::TITLE, total);
    });
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for (run, performed) in plan.runs.iter().zip(performed) {
        match performed {
            Ok(result) => {
                let outcome = written(C::NUMBERS, result);
                let record = json!({ "parameters": run.parameters, "outcome": outcome });
                lines.push(format!("  {record}"));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Ok(Performed { results: format!("[\n{}\n]\n", lines.join(",\n")), failures })
}

/// Performs a plan twice below `runs`: run after run, as processes of their own would, and in another order as
/// [`perform`] does, on two threads at least. Names the runs that do not give the same both times, to the last bit;
/// a test of an experiment asks for none.
pub fn unsteady<C: Chapter>(lab: &Lab, plan: &Plan, runs: &Path) -> Vec<String> {
    let alone = plan.runs.iter().map(|run| run.perform(lab, &runs.join("alone"), &|_, _| ()));
    let alone: Vec<_> =
        alone.map(|performed| performed.map(|performed| performed.result)).collect();
    let reversed: Vec<Planned> = plan.runs.iter().rev().cloned().collect();
    let threads = parallel::processors().max(2);
    let again = outcomes::<C>(lab, &reversed, &runs.join("again"), threads, || ());
    let pairs = plan.runs.iter().zip(alone).zip(again.into_iter().rev());
    let differs = pairs.filter(|((_, alone), again)| match (alone, again) {
        (Ok(alone), Ok(again)) => alone != again,
        _ => true,
    });
    differs.map(|((run, _), _)| run.run.clone()).collect()
}

/// The result of each run, in their order.
fn outcomes<C: Chapter>(
    lab: &Lab,
    planned: &[Planned],
    runs: &Path,
    threads: usize,
    progress: impl Fn() + Sync,
) -> Vec<Result<Value, PerformError>> {
    let done = |performed: Result<sweep::Performed, PerformError>| {
        progress();
        performed.map(|performed| performed.result)
    };
    match C::SIDE_BY_SIDE {
        true => parallel::each(planned, threads, |run| {
            done(run.perform_beside_others(lab, runs, &|_, _| ()))
        }),
        false => planned.iter().map(|run| done(run.perform(lab, runs, &|_, _| ()))).collect(),
    }
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
