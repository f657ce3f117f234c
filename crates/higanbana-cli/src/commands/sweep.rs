//! `higanbana sweep`: many runs of one experiment.

mod collect;
mod engine;
mod local;
mod plan;
mod submit;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Plan many runs of one experiment, submit them anywhere, collect their results
///
/// Example: higanbana sweep plan fit.toml -o plan.jsonl
///
/// Then: higanbana sweep submit plan.jsonl --engine local --go
///
/// Then: higanbana sweep collect plan.jsonl -o table.csv
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    Plan(plan::Arguments),
    Submit(submit::Arguments),
    Collect(collect::Arguments),
}

/// Does one step.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.step {
        Step::Plan(arguments) => plan::run(arguments),
        Step::Submit(arguments) => submit::run(arguments),
        Step::Collect(arguments) => collect::run(arguments),
    }
}
