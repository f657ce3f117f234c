//! `higanbana sweep plan`: from a description to a list of runs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use higanbana_io::writer::write_text;
use higanbana_lab::{experiment::Lab, sweep::Plan};

use crate::output;

/// What `--help` shows of an experiment file.
const FILE: &str = "\
An experiment file, one run for each combination on the axes:

    # fit, theorem, rank, expressivity, spectra or initialisation
    experiment = \"fit\"
    # of every run; what is left out has its default
    parameters.steps = 200

    [axes]
    adapter = [\"lora\", \"loha\"]
    options.rank = [2, 4]
    seed = [0, 1, 2]

Several grids, one below the other, are several [[axes]]; `experiments/sweep.toml` is one to copy.";

/// Write the runs that an experiment file describes, one a line, with all of their parameters
///
/// Example: higanbana sweep plan fit.toml -o plan.jsonl
#[derive(Args)]
#[command(after_long_help = FILE)]
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
    let lab = Lab::new(Default::default());
    let plan = Plan::expand(&experiment.display().to_string(), &text, &lab)?;
    write_text(out, &plan.text(), *overwrite)?;
    output::line(format!("{}: {}", out.display(), output::count(plan.runs.len(), "run")))
}
