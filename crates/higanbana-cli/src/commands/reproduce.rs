//! `higanbana reproduce`: what the toolkit claims, measured here and now.

mod adapters;
mod check;
mod gamma;
mod index;
mod study;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use higanbana_io::ledger::Ledger;
use higanbana_lab::{
    expressivity::Expressivity, initialisation::Initialisation, rank::Rank, spectra::Spectra,
};

use crate::{compute::Compute, output};
use check::Again;

/// Measure what the toolkit claims; write the results, and a page of them
///
/// Example: higanbana reproduce gamma --out reproduce
///
/// With --check nothing is written: the results are held against those that are committed, and each place
/// where they differ by more than another processor's rounding is named; the exit code is 1 then.
///
/// Example: higanbana reproduce rank --check
#[derive(Args)]
pub struct Arguments {
    /// Chapter
    #[arg(value_enum, default_value = "all")]
    chapter: Chapter,
    #[command(flatten)]
    compute: Compute,
    /// Folder for results and pages
    #[arg(long, default_value = "reproduce", value_name = "DIR")]
    out: PathBuf,
    /// The whole grid of every chapter: hours
    #[arg(long, conflicts_with = "check")]
    full: bool,
    /// Hold the results against those committed in this folder; `experiments` by default
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "experiments",
        conflicts_with = "out"
    )]
    check: Option<PathBuf>,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Chapter {
    /// Every chapter there is
    All,
    /// Every adapter against LyCORIS's own files
    Adapters,
    /// Training with gamma and without, for every adapter and optimizer
    Gamma,
    /// Attained rank against bound and parameters, degrees of freedom
    Rank,
    /// The best approximation of updates of many kinds, for the parameters it costs
    Expressivity,
    /// Rank and size of an update while it is trained
    Spectra,
    /// Gradient and step of a new adapter, by its rank
    Initialisation,
}

/// The task for a chapter.
struct Work {
    /// What it writes into the folder.
    names: Vec<String>,
    /// Measures, writes and shows it.
    run: fn(&Arguments) -> Result<()>,
    /// Measures it.
    again: fn(&Arguments) -> Result<Again>,
    /// Its results below the folder of experiments.
    committed: &'static str,
}

impl Chapter {
    fn work(self) -> Vec<Work> {
        match self {
            Self::All => {
                let chapters = Self::value_variants().iter().filter(|it| **it != Self::All);
                chapters.flat_map(|it| it.work()).collect()
            }
            Self::Adapters => vec![adapters::work()],
            Self::Gamma => vec![gamma::work()],
            Self::Rank => vec![study::work::<Rank>("02-rank/rank.json")],
            Self::Expressivity => {
                vec![study::work::<Expressivity>("03-expressivity/expressivity.json")]
            }
            Self::Spectra => vec![study::work::<Spectra>("04-spectra-of-training/spectra.json")],
            Self::Initialisation => {
                vec![study::work::<Initialisation>("05-initialisation/initialisation.json")]
            }
        }
    }
}

/// Runs the chapter.
pub fn run(arguments: &Arguments) -> Result<()> {
    let work = arguments.chapter.work();
    if let Some(experiments) = &arguments.check {
        return check::run(arguments, &work, experiments);
    }
    let is_all = arguments.chapter == Chapter::All;
    let mut names: Vec<&str> = work.iter().flat_map(|it| &it.names).map(String::as_str).collect();
    names.extend(is_all.then_some(index::NAME));
    Ledger::check(&arguments.out, &names)?;
    match &work[..] {
        [only] => (only.run)(arguments),
        chapters => all(arguments, chapters),
    }
}

/// Every chapter, whether the ones before it hold or not, and a page of contents.
fn all(arguments: &Arguments, chapters: &[Work]) -> Result<()> {
    let mut failed = Vec::new();
    for chapter in chapters {
        failed.extend((chapter.run)(arguments).err());
        output::line("")?;
    }
    index::write(&arguments.out)?;
    last(failed)
}

/// Tells all but the last of several errors, which is the command's.
fn last(mut failed: Vec<anyhow::Error>) -> Result<()> {
    let Some(last) = failed.pop() else { return Ok(()) };
    failed.iter().for_each(|error| output::say(output::message(error)));
    Err(last)
}

/// Writes files into the folder; gives their paths. The claim on it lasts as long as that: chapters may be
/// measured side by side.
fn write<const N: usize>(
    out: &Path,
    names: [impl AsRef<str>; N],
    texts: [String; N],
) -> Result<[PathBuf; N]> {
    let mut files = Ledger::claim(out)?;
    for (name, text) in names.iter().zip(&texts) {
        files.write_bytes(name.as_ref(), text.as_bytes())?;
    }
    Ok(names.map(|name| out.join(name.as_ref())))
}
