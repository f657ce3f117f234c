//! The page of trainings: what each made before and after, how its loss fell, and what it took.

mod run;
mod sheet;

use std::path::PathBuf;

use crate::{
    plot::{Axis, Marks, Palette, Point, Series, plot},
    report::ReportError,
    study::{Cell, Figure, Gallery, Study, Table, digits, list},
};
use run::TrainingRun;

/// What went wrong while the page was built.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A run cannot be shown.
    #[error("{}: {reason}", path.display())]
    Run {
        /// Its folder, or a file there.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The page is at fault.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Points of a curve of losses, each the mean of as many steps.
const POINTS: usize = 60;

/// The page of runs of `higanbana train` that are done, side by side.
///
/// # Errors
/// When a folder holds no such run, or a file of it cannot be read.
pub fn page(folders: &[PathBuf]) -> Result<String, PageError> {
    let runs: Vec<TrainingRun> =
        folders.iter().map(|folder| TrainingRun::read(folder)).collect::<Result<_, _>>()?;
    Ok(study(&runs).page()?)
}

fn study(runs: &[TrainingRun]) -> Study {
    let names = list(runs.iter().map(|run| &*run.name));
    let images = runs.iter().map(|run| run.outcome.images).max().unwrap_or_default();
    let sheets = Gallery {
        title: "Before and after".into(),
        caption: "Images from the same noise, before the training and after it.".into(),
        figures: sheet::figures(runs),
    };
    let curves = Gallery {
        title: "How it was learnt".into(),
        caption: String::new(),
        figures: vec![losses(runs)],
    };
    Study {
        title: "trainings side by side".into(),
        lead: format!("What {names} made of {images} images with captions."),
        findings: findings(runs),
        galleries: vec![sheets, curves],
        tables: vec![table(runs)],
        notes: Vec::new(),
        rerun: "higanbana train RUN.toml... --report OUT".into(),
    }
}

fn findings(runs: &[TrainingRun]) -> Vec<String> {
    let mut findings = Vec::new();
    if let [_, _, ..] = runs {
        let least = |of: fn(&TrainingRun) -> Option<f64>| {
            let values = runs.iter().filter_map(|run| Some((of(run)?, run)));
            values.min_by(|a, b| a.0.total_cmp(&b.0))
        };
        if let Some((bytes, run)) = least(|run| Some(run.bytes as f64)) {
            findings.push(format!("The smallest file is that of {}: {}.", run.name, size(bytes)));
        }
        if let Some((loss, run)) = least(|run| run.outcome.loss) {
            findings.push(format!(
                "The lowest mean loss of a last epoch is that of {}: {}.",
                run.name,
                digits(loss)
            ));
        }
    }
    let minutes: Vec<f64> = runs.iter().filter_map(TrainingRun::minutes).collect();
    if minutes.len() == runs.len() {
        let all = digits(minutes.iter().sum());
        findings
            .push(format!("The steps of all took {all} minutes on the machine that made this."));
    }
    findings
}

fn losses(runs: &[TrainingRun]) -> Figure {
    let palette = Palette::new(runs.iter().map(TrainingRun::algorithm));
    let series = runs.iter().enumerate().map(|(i, run)| {
        let of_the_same = runs[..i].iter().filter(|other| other.algorithm() == run.algorithm());
        let style = palette.style(run.algorithm()).other(of_the_same.count());
        let each = run.losses.len().div_ceil(POINTS).max(1);
        let points = run.losses.chunks(each).map(|part| {
            let count = part.len() as f64;
            let [x, y] = [0, 1].map(|i| part.iter().map(|point| point[i]).sum::<f64>() / count);
            Point::new(x, y)
        });
        Series { name: run.name.clone(), style, points: points.collect() }
    });
    let axes = [Axis::linear("step"), Axis::logarithmic("loss")];
    Figure {
        caption: format!("The loss over the steps, each point the mean of a {POINTS}th of them."),
        svg: plot("loss", axes, Marks::Curves, &series.collect::<Vec<_>>()),
    }
}

fn table(runs: &[TrainingRun]) -> Table {
    let row = |run: &TrainingRun| {
        vec![
            Cell::text(&run.name),
            Cell::text(run.algorithm()),
            Cell::text(run.options()),
            Cell::count(run.outcome.parameters),
            Cell { value: Some(run.bytes as f64), ..Cell::text(size(run.bytes as f64)) },
            Cell::count(run.outcome.steps),
            Cell::number(run.outcome.step_seconds),
            Cell::number(run.minutes()),
            Cell::number(run.outcome.loss),
            Cell::number(run.outcome.validation),
        ]
    };
    let headings = [
        "run",
        "algorithm",
        "options",
        "values",
        "file",
        "steps",
        "s / step",
        "minutes",
        "loss",
        "validation",
    ];
    Table {
        title: "What it took".into(),
        caption: "Times are those of steps alone, without the images on the way. Losses are means of the \
                  last epoch, and of the images held out."
            .into(),
        headings: headings.map(String::from).into(),
        rows: runs.iter().map(row).collect(),
    }
}

/// Bytes in kB or MB.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e6 => format!("{} kB", digits(bytes / 1e3)),
        bytes => format!("{} MB", digits(bytes / 1e6)),
    }
}
