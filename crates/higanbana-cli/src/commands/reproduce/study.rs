//! The chapters that are experiments: planned, performed run by run, collected, shown.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use higanbana_lab::{
    chapter::{Chapter, Performed, page, perform, study},
    experiment::{Failure, Lab},
    sweep::Plan,
};

use super::{Again, Arguments, Work, write};
use crate::output;

/// One whose results are committed in this file.
pub(super) fn work<C: Chapter>(committed: &'static str) -> Work {
    Work { names: names(C::NAME).into(), run: run::<C>, again: again::<C>, committed }
}

/// What one writes: the plan, the results and the page.
fn names(chapter: &str) -> [String; 3] {
    [format!("{chapter}/plan.jsonl"), format!("{chapter}.json"), format!("{chapter}.html")]
}

fn failed<C: Chapter>(error: Failure) -> anyhow::Error {
    anyhow!("{}: {error}", C::NAME)
}

fn plan<C: Chapter>(arguments: &Arguments) -> Result<(Lab, Plan)> {
    let lab = crate::lab(arguments.compute.device()?);
    let runs = C::plan(&lab, arguments.full).and_then(|runs| Plan::of::<C>(&runs));
    Ok((lab, runs.map_err(failed::<C>)?))
}

/// Performs a plan in this folder of runs.
fn performed<C: Chapter>(lab: &Lab, plan: &Plan, runs: &Path) -> Result<Performed> {
    let bar = output::progress(plan.runs.len());
    bar.set_message(C::TITLE);
    let performed = perform::<C>(lab, plan, runs, |_, _| bar.inc(1)).map_err(failed::<C>)?;
    bar.finish_and_clear();
    Ok(performed)
}

/// Measures one, in a folder that is gone afterwards: nothing is taken for done.
fn again<C: Chapter>(arguments: &Arguments) -> Result<Again> {
    let (lab, plan) = plan::<C>(arguments)?;
    let runs = tempfile::tempdir()?;
    let performed = performed::<C>(&lab, &plan, runs.path())?;
    Again::new(C::NUMBERS, &performed.results, performed.failures)
}

/// Runs one: the plan and its runs, the results and the page in the folder; the findings on the terminal.
fn run<C: Chapter>(arguments: &Arguments) -> Result<()> {
    let (lab, plan) = plan::<C>(arguments)?;
    let folder = arguments.out.join(C::NAME);
    let [of_plan, of_results, of_page] = names(C::NAME);
    write(&arguments.out, [of_plan], [plan.text()])?;
    let performed = performed::<C>(&lab, &plan, &folder.join("runs"))?;
    let text = page::<C>(&performed.results, &performed.failures)?;
    let texts = [performed.results.clone(), text];
    let [json, html] = write(&arguments.out, [of_results, of_page], texts)?;
    if arguments.json {
        output::json_text(&performed.results)?;
    } else {
        let study = study::<C>(&performed.results)?;
        output::line(&study.title)?;
        output::line("")?;
        study.findings.iter().try_for_each(|finding| output::line(format!("  {finding}")))?;
        let (html, json) = (html.display(), json.display());
        output::line("")?;
        output::line(format!("The page is {html}, the numbers are {json}"))?;
    }
    performed.failures.iter().for_each(output::say);
    match performed.failures.len() {
        0 => Ok(()),
        count => bail!("{count} of {} runs of {} failed", plan.runs.len(), C::NAME),
    }
}
