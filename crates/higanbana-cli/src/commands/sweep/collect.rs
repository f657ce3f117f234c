//! `higanbana sweep collect`: the results of a plan as one table.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use higanbana_io::writer::{check, write_text};
use higanbana_lab::sweep::{self, Plan, collect};

use crate::{commands::run::beside, output};

/// Collect the results of a plan into one table, and list the runs that have none
///
/// The exit code is 1 where there are such runs; the table has a row for each of them, too.
///
/// Example: higanbana sweep collect plan.jsonl -o table.csv -o table.json
#[derive(Args)]
pub struct Arguments {
    /// The plan
    plan: PathBuf,
    /// Folder of all runs; without it, `runs` beside the plan
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// A table: .csv or .json; repeat it for both
    #[arg(short, long, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Replace tables that exist
    #[arg(long)]
    overwrite: bool,
    /// Print the table as JSON in place of the list
    #[arg(long)]
    json: bool,
}

/// Collects.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { plan: file, runs, out, overwrite, json } = arguments;
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let is_csv = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "csv");
    for path in out {
        if !is_json(path) && !is_csv(path) {
            return Err(output::usage(format!("{}: name it .csv or .json", path.display())));
        }
    }
    let plan = Plan::read(file)?;
    let runs = runs.clone().unwrap_or_else(|| beside(file));
    let folders: Vec<PathBuf> = plan.runs.iter().map(|run| run.folder(&runs)).collect();
    for path in out {
        output::differs_from_inputs(path, folders.iter().chain([file]).map(|input| &**input))?;
        check(path, *overwrite)?;
    }
    let rows = collect(&plan, &runs);
    for path in out {
        let text = if is_json(path) { sweep::json(&rows)? } else { sweep::csv(&rows) };
        write_text(path, &text, *overwrite)?;
    }
    let open: Vec<_> = rows.iter().filter(|row| !row.is_done()).collect();
    if *json {
        output::json_text(sweep::json(&rows)?)?;
    } else {
        let mut table = output::table(&["index>", "run", "state", "reason"]);
        for row in &open {
            let reason = row.reason.clone().unwrap_or_default();
            table.add_row([row.index.to_string(), row.run.clone(), row.state.into(), reason]);
        }
        if !open.is_empty() {
            output::show(&table)?;
        }
        let done = rows.len() - open.len();
        output::line(format!("{done} of {} done", output::count(rows.len(), "run")))?;
    }
    match open.len() {
        0 => Ok(()),
        open => {
            bail!("{}: {open} of {} not done", file.display(), output::count(rows.len(), "run"))
        }
    }
}
