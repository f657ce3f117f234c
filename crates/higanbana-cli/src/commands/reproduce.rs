//! `higanbana reproduce`: what the toolkit claims, measured here and now.

mod gamma;
mod index;
mod study;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use higanbana_io::writer::write_text;
use higanbana_lab::{
    adapters::{Fixtures, Reload, Row, run as compare},
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

/// Runs the chapter.
pub fn run(arguments: &Arguments) -> Result<()> {
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
    let folder = arguments.out.join("results");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let registry = crate::registry();
    let rows = output::steps(|step| {
        let cases = Fixtures::committed().cases.len();
        Ok(compare(&registry, &device, |case| step(case, cases))?)
    })?;
    let (results, page) = (folder.join("adapters.json"), arguments.out.join("adapters.html"));
    write_text(&results, &report::results(&rows)?, true)?;
    write_text(&page, &report::adapters(&rows, &registry)?, true)?;
    if arguments.json {
        return output::json(&rows);
    }
    show(&rows)?;
    output::line("")?;
    output::line(format!("Results: {}; the page: {}", results.display(), page.display()))
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
