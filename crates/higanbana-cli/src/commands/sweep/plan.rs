//! `higanbana sweep plan`: from a description to a list of runs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use higanbana_io::writer::write_text;
use higanbana_lab::sweep::Plan;

use crate::output;

/// Write the runs that an experiment file describes, one a line, with all of their parameters
///
/// Example: higanbana sweep plan fit.toml -o plan.jsonl
#[derive(Args)]
#[command(after_long_help = include_str!("../../../../../experiments/sweep.toml"))]
pub struct Arguments {
    /// The experiment file
    #[arg(value_name = "EXPERIMENT.toml")]
    experiment: PathBuf,
    /// The plan
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the plan if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Plans.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { experiment, out, overwrite } = arguments;
    output::differs_from_inputs(out, [experiment.as_path()])?;
    let text = std::fs::read_to_string(experiment)
        .with_context(|| format!("{}: cannot be read", experiment.display()))?;
    let lab = crate::lab(Default::default());
    let plan = Plan::expand(&experiment.display().to_string(), &text, &lab)?;
    write_text(out, &plan.text(), *overwrite)?;
    output::line(format!("{}: {}", out.display(), output::count(plan.runs.len(), "run")))
}
