//! `higanbana sweep submit`: the runs that are not done, to an engine.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use higanbana_lab::sweep::{Plan, collect};

use super::{
    engine::{Engine, Submission},
    local,
};
use crate::{
    commands::run::{Work, at_least_one},
    output,
};

/// Print the line that submits the runs of a plan that are not done, or run it
///
/// Runs that are done, or that a process works on now, are left out. What stands behind `--` goes
/// to the engine: `-- --gres=gpu:1 --time=1:00:00`.
///
/// Example: higanbana sweep submit plan.jsonl --engine slurm --jobs 8 --go -- --gres=gpu:1
#[derive(Args)]
pub struct Arguments {
    /// The plan
    plan: PathBuf,
    /// What runs them
    #[arg(long, value_enum)]
    engine: Engine,
    /// How many at a time: for local and parallel as many as there are processors, where it is left out
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    #[command(flatten)]
    work: Work,
    /// Run the line
    #[arg(long)]
    go: bool,
    /// Options of the engine's own
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// Submits.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { plan: file, engine, jobs, work, go, options } = arguments;
    let plan = Plan::read(file)?;
    let rows = collect(&plan, &work.folder(file));
    let open = rows.iter().filter(|row| !row.is_done() && row.state != "running");
    let tasks: BTreeSet<usize> = open.clone().map(|row| row.index / work.chunk).collect();
    if tasks.is_empty() {
        return output::line("nothing to submit: every run is done or running");
    }
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let submission = Submission {
        program: program.into(),
        plan: file.into(),
        work: work.arguments(),
        tasks,
        jobs: *jobs,
        options,
    };
    engine.check(&submission).map_err(output::usage)?;
    if let Some(note) = engine.note(&submission) {
        output::say(format!("note: {note}"));
    }
    let line = || engine.line(&submission).map_err(output::usage);
    if !go {
        return output::line(line()?);
    }
    let some = format!("{} of {}", open.count(), output::count(rows.len(), "run"));
    let failed = match engine {
        // Child processes take a name in any encoding.
        Engine::Local => {
            output::say(some);
            local::run(&submission)?
        }
        _ => {
            let line = line()?;
            output::say(some);
            shell(&line, engine.program())?
        }
    };
    if failed {
        bail!("some runs failed; `higanbana sweep collect {}` lists them", file.display());
    }
    Ok(())
}

/// Runs the line; whether it failed.
fn shell(line: &str, program: &str) -> Result<bool> {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status()
        .context("there is no shell `sh`")?;
    if !found.success() {
        bail!("`{program}` cannot be found; run this where it is installed");
    }
    let status = Command::new("sh").args(["-c", line]).status()?;
    Ok(!status.success())
}
