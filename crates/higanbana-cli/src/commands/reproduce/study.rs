//! The chapters that are experiments: planned, performed run by run, collected, shown.

use anyhow::{Result, anyhow, bail};
use higanbana_lab::{
    chapter::{Chapter, page, perform, study},
    experiment::Failure,
    sweep::Plan,
};

use super::{Arguments, write};
use crate::output;

/// What one writes: the plan, the results and the page.
pub fn names(chapter: &str) -> [String; 3] {
    [format!("{chapter}/plan.jsonl"), format!("{chapter}.json"), format!("{chapter}.html")]
}

/// Runs one: the plan and its runs, the results and the page in the folder; the findings on the terminal.
pub fn run<C: Chapter>(arguments: &Arguments) -> Result<()> {
    let lab = crate::lab(arguments.compute.device()?);
    let folder = arguments.out.join(C::NAME);
    let failed = |error: Failure| anyhow!("{}: {error}", C::NAME);
    let plan =
        C::plan(&lab, arguments.full).and_then(|runs| Plan::of::<C>(&runs)).map_err(failed)?;
    let [of_plan, of_results, of_page] = names(C::NAME);
    write(&arguments.out, [of_plan], [plan.text()])?;
    let bar = output::progress(plan.runs.len());
    bar.set_message(C::TITLE);
    let performed =
        perform::<C>(&lab, &plan, &folder.join("runs"), |_, _| bar.inc(1)).map_err(failed)?;
    bar.finish_and_clear();
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
