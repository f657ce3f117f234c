//! `higanbana run`: one run of a plan, or a few in a row.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use higanbana_lab::{
    experiment::Lab,
    sweep::{Plan, Planned},
};

use crate::{compute::Compute, output};

/// Perform a run of a plan; one that is done is not run again
///
/// Without --index it is the task of an array that is run: SLURM_ARRAY_TASK_ID, HQ_TASK_ID, or
/// PARALLEL_SEQ - 1.
///
/// Example: higanbana run --plan plan.jsonl --index 3
#[derive(Args)]
pub struct Arguments {
    /// The plan, from `higanbana sweep plan`
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Which run, from 0
    #[arg(long, value_name = "K")]
    index: Option<usize>,
    #[command(flatten)]
    work: Work,
    /// Print the result as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// How tasks of an array become runs, and where.
#[derive(Args)]
pub struct Work {
    /// Runs in a row for each index: K stands for the runs N·K to N·K + N - 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub chunk: usize,
    /// Folder of all runs; without it, `runs` beside the plan
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    pub compute: Compute,
}

impl Work {
    /// The folder of all runs.
    pub fn folder(&self, plan: &Path) -> PathBuf {
        self.runs.clone().unwrap_or_else(|| beside(plan))
    }

    /// These options, where they are not the default ones, for another call.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if self.chunk != 1 {
            option("--chunk", self.chunk.to_string().into());
        }
        if let Some(runs) = &self.runs {
            option("--runs", runs.into());
        }
        if !self.compute.is_default() {
            option("--device", self.compute.name().into());
        }
        arguments
    }
}

/// The folder of runs where none is named.
pub fn beside(plan: &Path) -> PathBuf {
    plan.with_file_name("runs")
}

/// Parses a number that must not be 0.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("give 1 or more".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// Performs them.
pub fn run(arguments: &Arguments) -> Result<()> {
    let plan = Plan::read(&arguments.plan)?;
    let index = match arguments.index {
        Some(index) => index,
        None => task()?,
    };
    let chunk = arguments.work.chunk;
    let begin = index.saturating_mul(chunk);
    let Some(rest) = plan.runs.get(begin..).filter(|rest| !rest.is_empty()) else {
        let (file, last) = (arguments.plan.display(), (plan.runs.len() - 1) / chunk);
        return Err(output::usage(format!("index {index} is beyond {file}, whose last is {last}")));
    };
    let lab = crate::lab(arguments.work.compute.device()?);
    let chosen = &rest[..chunk.min(rest.len())];
    let mut failures = Vec::new();
    for planned in chosen {
        if let Err(error) = perform(planned, &lab, arguments) {
            failures.push(error);
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        count => {
            failures.iter().for_each(|failure| output::say(output::message(failure)));
            bail!("{count} of {} runs failed", chosen.len())
        }
    }
}

fn perform(planned: &Planned, lab: &Lab, arguments: &Arguments) -> Result<()> {
    let bar = output::progress(0);
    bar.set_message(&planned.run);
    let performed =
        planned.perform(lab, &arguments.work.folder(&arguments.plan), &|done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        });
    bar.finish_and_clear();
    let performed = performed?;
    if arguments.json {
        return output::json_text(performed.result.to_string());
    }
    let how = if performed.before { "was done" } else { "done" };
    output::line(format!("{} {}: {how}", planned.index, planned.run))
}

/// The index of this task of an array.
fn task() -> Result<usize> {
    for (name, first) in [("SLURM_ARRAY_TASK_ID", 0), ("HQ_TASK_ID", 0), ("PARALLEL_SEQ", 1)] {
        let Some(text) = std::env::var_os(name) else { continue };
        let text = text.to_string_lossy().into_owned();
        let number = text.parse::<usize>().with_context(|| format!("{name} is `{text}`"))?;
        let before = || format!("{name} is {number}, before the first, {first}");
        return number.checked_sub(first).with_context(before);
    }
    Err(output::usage("no index: give --index K, or run it as a task of an array"))
}
