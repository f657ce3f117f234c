//! One file for each command.

mod adapters;
mod devices;
mod merge;
mod reproduce;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Adapters(adapters::Arguments),
    Devices(devices::Arguments),
    Merge(merge::Arguments),
    Reproduce(reproduce::Arguments),
}

/// Does it.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Adapters(arguments) => adapters::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
    }
}
