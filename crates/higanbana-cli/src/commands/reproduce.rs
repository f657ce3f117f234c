//! `higanbana reproduce`: what the toolkit claims, measured here and now.

mod gamma;
mod index;
mod study;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use higanbana_io::ledger::Ledger;
use higanbana_lab::{
    adapters::{Fixtures, Reload, Row, run as compare},
    experiment::Experiment,
    expressivity::Expressivity,
    initialisation::Initialisation,
    rank::Rank,
    report,
    spectra::Spectra,
};

use crate::{compute::Compute, output};

/// Measure what the toolkit claims; write the results, and a page of them
///
/// Example: higanbana reproduce gamma --out reproduce
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
    #[arg(long)]
    full: bool,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
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

impl Chapter {
    /// What it writes into the folder.
    fn names(self) -> Vec<String> {
        fn study<C: Experiment>() -> Vec<String> {
            study::names(C::NAME).into()
        }
        match self {
            Self::All => {
                let chapters = Self::value_variants().iter().filter(|it| !matches!(it, Self::All));
                chapters.flat_map(|it| it.names()).chain([index::NAME.into()]).collect()
            }
            Self::Adapters => ADAPTERS.map(String::from).into(),
            Self::Gamma => gamma::NAMES.map(String::from).into(),
            Self::Rank => study::<Rank>(),
            Self::Expressivity => study::<Expressivity>(),
            Self::Spectra => study::<Spectra>(),
            Self::Initialisation => study::<Initialisation>(),
        }
    }
}

/// Results of the chapter `adapters`, and its page.
const ADAPTERS: [&str; 2] = ["results/adapters.json", "adapters.html"];

/// Runs the chapter.
pub fn run(arguments: &Arguments) -> Result<()> {
    let names = arguments.chapter.names();
    Ledger::check(&arguments.out, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    match arguments.chapter {
        Chapter::All => all(arguments),
        Chapter::Adapters => adapters(arguments),
        Chapter::Gamma => gamma::run(arguments),
        Chapter::Rank => study::run::<Rank>(arguments),
        Chapter::Expressivity => study::run::<Expressivity>(arguments),
        Chapter::Spectra => study::run::<Spectra>(arguments),
        Chapter::Initialisation => study::run::<Initialisation>(arguments),
    }
}

/// Every chapter, whether the ones before it hold or not, and a page of contents.
fn all(arguments: &Arguments) -> Result<()> {
    let chapters: [fn(&Arguments) -> Result<()>; 6] = [
        adapters,
        gamma::run,
        study::run::<Rank>,
        study::run::<Expressivity>,
        study::run::<Spectra>,
        study::run::<Initialisation>,
    ];
    let mut failed = Vec::new();
    for chapter in chapters {
        failed.extend(chapter(arguments).err());
        output::line("")?;
    }
    index::write(&arguments.out)?;
    match failed.pop() {
        None => Ok(()),
        Some(last) => {
            failed.iter().for_each(|error| output::say(output::message(error)));
            Err(last)
        }
    }
}

fn adapters(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    let registry = crate::registry();
    let rows = output::steps(|step| {
        let cases = Fixtures::committed().cases.len();
        Ok(compare(&registry, &device, |case| step(case, cases))?)
    })?;
    let texts = [report::results(&rows)?, report::adapters(&rows, &registry)?];
    let [results, page] = write(&arguments.out, ADAPTERS, texts)?;
    if arguments.json {
        return output::json(&rows);
    }
    show(&rows)?;
    output::line("")?;
    output::line(format!("Results: {}; the page: {}", results.display(), page.display()))
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

fn show(rows: &[Row]) -> Result<()> {
    let headings =
        ["case", "algorithm", "deviation>", "parameters>", "rank>", "bound>", "degree>", "LyCORIS"];
    let mut table = output::table(&headings);
    for row in rows {
        let reload = match &row.reload {
            Reload::Exact => "reloads it".to_string(),
            Reload::Deviates(by) => format!("reloads it {by:.2} off"),
            Reload::Error(_) => "cannot reload it".to_string(),
        };
        table.add_row([
            if row.start_beside { format!("{}*", row.case) } else { row.case.clone() },
            row.algorithm.clone(),
            format!("{:.1e}", row.deviation),
            row.parameters.to_string(),
            row.rank.to_string(),
            row.rank_bound.to_string(),
            row.degree.clone(),
            reload,
        ]);
    }
    output::show(&table)?;
    output::line(
        "* read with the factors that it started from, kept in a file beside: LyCORIS does not save them",
    )?;
    let worst = rows.iter().map(|row| row.deviation).fold(0.0, f64::max);
    let weights: usize = rows.iter().map(|row| row.weights).sum();
    output::line("")?;
    output::line(format!(
        "{weights} weights of {} files; the largest relative deviation from LyCORIS is {worst:.1e}",
        rows.len()
    ))
}
