//! `higanbana sweep plan`: from a description to a list of runs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use higanbana_io::writer::write_text;
use higanbana_lab::sweep::Plan;

use crate::output;

/// Write the runs that an experiment file describes, one a line, with all of their parameters
///
/// Such a file, one run for each combination on the axes (`experiments/sweep.toml` is one to copy):
///
///     experiment = "fit"             # or theorem, rank, expressivity, spectra, initialisation
///     parameters.steps = 200         # of every run; what is left out has its default
///
///     [axes]
///     adapter = ["lora", "loha"]
///     options.rank = [2, 4]
///     seed = [0, 1, 2]
///
/// Several grids, one below the other, are several [[axes]].
///
/// Example: higanbana sweep plan fit.toml -o plan.jsonl
#[derive(Args)]
#[command(verbatim_doc_comment)]
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
