//! `higanbana reproduce`: what the toolkit claims, measured here and now.

mod gamma;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use higanbana_io::writer::write_text;
use higanbana_lab::{
    adapters::{Fixtures, Reload, Row, run as compare},
    report,
};

use crate::{compute::Compute, output};

/// Measure what the toolkit claims; write the results, and a page of them
///
/// Example: higanbana reproduce gamma --out reproduce
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Chapter
    #[arg(value_enum, default_value = "all")]
    chapter: Chapter,
    #[command(flatten)]
    compute: Compute,
    /// Folder for results and pages
    #[arg(long, default_value = "reproduce", value_name = "DIR")]
    out: PathBuf,
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
}

/// Runs the chapter.
pub fn run(arguments: &Arguments) -> Result<()> {
    match arguments.chapter {
        Chapter::All => {
            adapters(arguments)?;
            output::line("")?;
            gamma::run(arguments)
        }
        Chapter::Adapters => adapters(arguments),
        Chapter::Gamma => gamma::run(arguments),
    }
}

fn adapters(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    let folder = arguments.out.join("results");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let registry = higanbana_adapters::registry();
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
    output::line(format!("\nResults: {}; the page: {}", results.display(), page.display()))
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
    output::line(format!(
        "\n{weights} weights of {} files; the largest relative deviation from LyCORIS is {worst:.1e}",
        rows.len()
    ))
}
