//! One file for each command.

mod adapters;
mod convert;
mod devices;
mod extract;
mod generate;
mod inspect;
mod merge;
mod reproduce;
mod resize;
mod scaling;
mod theorem;
mod train;
mod unet;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Adapters(adapters::Arguments),
    Convert(convert::Arguments),
    Devices(devices::Arguments),
    Extract(extract::Arguments),
    Generate(Box<generate::Arguments>),
    Inspect(inspect::Arguments),
    Merge(merge::Arguments),
    Reproduce(reproduce::Arguments),
    Resize(resize::Arguments),
    Unet(unet::Arguments),
    Scaling(scaling::Arguments),
    Theorem(theorem::Arguments),
    Train(Box<train::Arguments>),
}

/// Does it.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Adapters(arguments) => adapters::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Extract(arguments) => extract::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Resize(arguments) => resize::run(&arguments),
        Command::Unet(arguments) => unet::run(&arguments),
        Command::Scaling(arguments) => scaling::run(&arguments),
        Command::Theorem(arguments) => theorem::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
    }
}
