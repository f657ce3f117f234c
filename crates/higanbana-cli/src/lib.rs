//! The command line of Higanbana, and with what you add to it that of a program of your own:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use higanbana_lab::experiment::Lab;
//!
//! fn main() -> ExitCode {
//!     higanbana_cli::main(|device| {
//!         let mut lab = Lab::new(device);
//!         // lab.adapters = lab.adapters.with::<YourAdapter>();
//!         // lab.optimizers = lab.optimizers.with(YOUR_OPTIMIZER);
//!         // lab.experiments = lab.experiments.with::<YourExperiment>();
//!         lab
//!     })
//! }
//! ```
//!
//! Every command then knows them: `train` trains your algorithm, `inspect`, `merge` and `rank` read its
//! files, `reproduce` and `sweep` measure it beside the others; `theorem` has a cell for your optimizer with
//! each adapter, its degrees [found](higanbana_train::Outside). `train` trains with those of the toolkit.

mod adapter;
mod commands;
mod compute;
mod embedding;
mod memory;
mod output;
mod refit;
mod signals;

use std::{io, process::ExitCode, sync::OnceLock};

use burn::tensor::Device;
use clap::{Parser, error::ErrorKind};
use higanbana_core::Registry;
use higanbana_lab::experiment::Lab;

/// Tensor-algebra research toolkit on Burn: the LyCORIS family of weight adapters.
#[derive(Parser)]
#[command(name = "higanbana", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

// For the whole process, because clap asks for help and checks values without a context.
static LAB: OnceLock<fn(Device) -> Lab> = OnceLock::new();

/// What there is, on a device.
fn lab(device: Device) -> Lab {
    LAB.get_or_init(|| Lab::new)(device)
}

/// The algorithms that there are.
fn registry() -> Registry {
    lab(Device::default()).adapters
}

/// Runs the command that the arguments of the process name, with the adapters, optimizers and experiments of a lab:
/// [`Lab::new`], or more.
pub fn main(lab: fn(Device) -> Lab) -> ExitCode {
    LAB.get_or_init(|| lab);
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_ansi(false)
        .with_writer(|| output::Stderr)
        .without_time()
        .init();
    signals::clean_up();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return misused(&error),
    };
    match commands::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format!("error: {}", output::message(&error)));
            if error.is::<output::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Prints what clap has to say: help as it is, an error in one line.
fn misused(error: &clap::Error) -> ExitCode {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        let lost = error.print().is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
        return match error.use_stderr() {
            true => ExitCode::from(2),
            false if lost => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        };
    }
    output::say(output::one_line(&error.to_string()));
    ExitCode::from(2)
}
