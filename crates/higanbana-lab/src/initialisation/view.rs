//! The page of the chapter.

use super::{First, Initialisation, Scale, exponent};
use crate::{
    chapter::Record,
    plot::{Axis, Marks, Palette, Point, Series, plot},
    study::{Cell, Figure, Gallery, Study, Table, digits, list},
};

/// An exponent that counts as none.
const STABLE: f64 = 0.1;

/// What is measured: name, unit of its axis, and how to read it.
type Quantity = (&'static str, &'static str, fn(&First) -> f64);

const QUANTITIES: [Quantity; 3] = [
    ("gradient", "norm of the gradient", |first| first.gradient),
    ("step of SGD", "update / learning rate", |first| first.sgd),
    ("step of signs", "update / learning rate", |first| first.sign),
];

type Records<'a> = &'a [Record<Initialisation>];

pub(super) fn study(records: Records) -> Study {
    let size = records.first().map_or(0, |record| record.parameters.size);
    let palette = Palette::new(records.iter().map(|record| record.parameters.adapter.as_str()));
    Study {
        title: "the scale of a new adapter, by its rank".into(),
        lead: format!(
            "A new adapter on a {size}×{size} weight whose gradient has norm 1: the norm of its own gradient, and how far one step \
             of SGD and one of signs, Adam’s first, moves the update, per unit of learning rate. As powers of the rank; 0 is stable."
        ),
        findings: findings(records),
        galleries: vec![Gallery {
            title: "The first step".into(),
            caption: "Over the rank; bands from the least to the largest of the seeds. Dotted: the scale α/√r.".into(),
            figures: QUANTITIES.iter().map(|it| figure(it, records, &palette)).collect(),
        }],
        tables: vec![table(records)],
        notes: Vec::new(),
        rerun: "higanbana reproduce initialisation".into(),
    }
}

fn name(record: &Record<Initialisation>) -> String {
    format!("{}, {}", record.parameters.adapter, record.parameters.scale.name())
}

fn points(record: &Record<Initialisation>, of: fn(&First) -> f64) -> Vec<Point> {
    let at = |&rank: &usize| {
        let values: Vec<f64> =
            record.outcome.iter().filter(|first| first.rank == rank).map(of).collect();
        Point::of_mean(rank as f64, &values)
    };
    record.parameters.ranks.iter().filter_map(at).collect()
}

/// The exponent of a quantity.
fn power(record: &Record<Initialisation>, of: fn(&First) -> f64) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        points(record, of).iter().map(|point| (point.x, point.y)).collect();
    exponent(&points)
}

fn figure((title, axis, of): &Quantity, records: Records, palette: &Palette) -> Figure {
    let series = records.iter().map(|record| Series {
        name: name(record),
        style: {
            let style = palette.style(&record.parameters.adapter);
            if record.parameters.scale == Scale::AlphaOverRoot { style.other(1) } else { style }
        },
        points: points(record, *of),
    });
    let axes = [Axis::logarithmic("rank"), Axis::logarithmic(axis)];
    Figure {
        caption: format!("The {title}."),
        svg: plot(title, axes, Marks::Lines, &series.collect::<Vec<_>>()),
    }
}

fn table(records: Records) -> Table {
    let row = |record: &Record<Initialisation>| {
        let quantities = QUANTITIES.iter().flat_map(|(_, _, of)| {
            let first = points(record, *of).first().map(|point| point.y);
            [Cell::number(first), Cell::number(power(record, *of))]
        });
        let names =
            [Cell::text(&record.parameters.adapter), Cell::text(record.parameters.scale.name())];
        names.into_iter().chain(quantities).collect()
    };
    let headings = QUANTITIES
        .iter()
        .flat_map(|(name, ..)| [format!("{name}, first rank"), format!("{name}: power of r")]);
    Table {
        title: "Powers of the rank".into(),
        caption:
            "Least squares of the logarithms over all ranks that differ in parameters; the mean of the seeds at the first."
                .into(),
        headings: ["adapter", "scale"].map(String::from).into_iter().chain(headings).collect(),
        rows: records.iter().map(row).collect(),
    }
}

fn findings(records: Records) -> Vec<String> {
    let mut findings: Vec<String> = QUANTITIES
        .iter()
        .map(|(title, _, of)| {
            let stable =
                records.iter().filter(|it| power(it, *of).is_some_and(|p| p.abs() < STABLE));
            let names: Vec<String> = stable
                .map(|record| {
                    format!("{} at {}", record.parameters.adapter, record.parameters.scale.name())
                })
                .collect();
            format!(
                "The {title} is stable in the rank, within a power of {STABLE}, for {}.",
                list(names.iter().map(String::as_str))
            )
        })
        .collect();
    for (title, _, of) in &QUANTITIES {
        let powers =
            || records.iter().filter_map(|record| Some((power(record, *of)?, name(record))));
        let steepest = powers().max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        if let Some((power, name)) = steepest {
            findings.push(format!(
                "The {title} depends on the rank most for {name}: as r to the power {}.",
                digits(power)
            ));
        }
    }
    findings
}
