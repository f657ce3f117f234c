//! One file for each command.

mod adapters;
mod combine;
mod convert;
mod devices;
mod export;
mod extract;
mod generate;
mod inspect;
mod merge;
mod rank;
mod reproduce;
mod resize;
mod run;
mod scaling;
mod sweep;
mod theorem;
mod train;
mod unet;

use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    Adapters(adapters::Arguments),
    Combine(combine::Arguments),
    Convert(convert::Arguments),
    Devices(devices::Arguments),
    Export(export::Arguments),
    Extract(extract::Arguments),
    Generate(Box<generate::Arguments>),
    Inspect(inspect::Arguments),
    Merge(merge::Arguments),
    Rank(rank::Arguments),
    Reproduce(reproduce::Arguments),
    Resize(resize::Arguments),
    Run(run::Arguments),
    Scaling(scaling::Arguments),
    Sweep(sweep::Arguments),
    Theorem(theorem::Arguments),
    Train(Box<train::Arguments>),
    Unet(unet::Arguments),
}

/// Does it.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Adapters(arguments) => adapters::run(&arguments),
        Command::Combine(arguments) => combine::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Devices(arguments) => devices::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Extract(arguments) => extract::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Rank(arguments) => rank::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Resize(arguments) => resize::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Scaling(arguments) => scaling::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Theorem(arguments) => theorem::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Unet(arguments) => unet::run(&arguments),
    }
}
