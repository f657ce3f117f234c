//! The command line of Higanbana.

mod commands;
mod compute;
mod output;
mod refit;
mod signals;

use std::process::ExitCode;

use clap::{Parser, error::ErrorKind};

// Burn's CPU backend allocates every result; glibc would hand large blocks back to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tensor-algebra research toolkit on Burn: the LyCORIS family of weight adapters.
#[derive(Parser)]
#[command(name = "higanbana", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
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
            eprintln!("error: {}", output::message(&error));
            if error.is::<output::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Prints what clap has to say: help as it is, an error in one line.
fn misused(error: &clap::Error) -> ExitCode {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        error.exit();
    }
    eprintln!("{}", output::one_line(&error.to_string()));
    ExitCode::from(2)
}
