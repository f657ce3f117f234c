//! The page of the chapter.

use super::{
    First, Initialisation, Scale, Step, findings,
    power::{Power, Regime},
};
use crate::{
    chapter::Record,
    findings::method,
    plot::{Axis, Marks, Palette, Point, Series, plot},
    study::{Cell, Figure, Gallery, Study, Table},
};

/// What is measured: name, unit of its axis, and how to read it.
pub(super) type Quantity = (&'static str, &'static str, fn(&Step) -> f64);

pub(super) const QUANTITIES: [Quantity; 3] = [
    ("gradient", "norm of the gradient", |step| step.gradient),
    ("step of SGD", "update / learning rate", |step| step.sgd),
    ("step of signs", "update / learning rate", |step| step.sign),
];

pub(super) type Records<'a> = &'a [Record<Initialisation>];

pub(super) fn study(records: Records) -> Study {
    let size = records.first().map_or(0, |record| record.parameters.size);
    let palette = Palette::new(records.iter().map(|record| record.parameters.adapter.as_str()));
    Study {
        title: "the scale of a new adapter, by its rank".into(),
        lead: format!(
            "A new adapter on a {size}×{size} weight whose gradient has norm 1: the norm of its own gradient, and how far one step \
             of SGD and one of signs, Adam’s first, moves the update, per unit of learning rate. As powers of the rank, of each trained tensor alone; 0 is stable."
        ),
        findings: findings::findings(records),
        galleries: vec![Gallery {
            title: "The first step".into(),
            caption: "All tensors together, over the rank; bands from the least to the largest of the seeds. Dotted: the scale α/√r.".into(),
            figures: QUANTITIES.iter().map(|it| figure(it, records, &palette)).collect(),
        }],
        tables: vec![table(records)],
        notes: notes(records),
        rerun: "higanbana reproduce initialisation".into(),
    }
}

pub(super) fn name(record: &Record<Initialisation>) -> String {
    let adapter = &record.parameters.adapter;
    match record.parameters.scale {
        Scale::Own => adapter.clone(),
        scale => format!("{adapter} at {}", scale.name()),
    }
}

fn points(record: &Record<Initialisation>, of: fn(&Step) -> f64) -> Vec<Point> {
    let at = |&rank: &usize| {
        let own = record.outcome.iter().filter(|first| first.rank == rank);
        let values: Vec<f64> = own.map(|first| of(&first.whole)).collect();
        Point::of_mean(rank as f64, &values)
    };
    record.parameters.ranks.iter().filter_map(at).collect()
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

/// A row for all trained tensors of each regime, and one for each.
fn table(records: Records) -> Table {
    let rows = |record: &Record<Initialisation>| -> Vec<Vec<Cell>> {
        let row = |regime: &Regime, tensor: Option<&str>| {
            let quantities = QUANTITIES.iter().map(|(_, _, of)| {
                power(&regime.power(|first: &First| match tensor {
                    None => of(&first.whole),
                    Some(name) => first.tensors.get(name).map_or(0.0, of),
                }))
            });
            let (adapter, scale) = (&record.parameters.adapter, record.parameters.scale.name());
            let names = [adapter, scale, &regime.name(), tensor.unwrap_or("all")].map(Cell::text);
            names.into_iter().chain(quantities.flatten()).collect()
        };
        let of = |regime: &Regime| -> Vec<Vec<Cell>> {
            let tensors = regime.tensors.iter().map(|name| row(regime, Some(name)));
            std::iter::once(row(regime, None)).chain(tensors).collect()
        };
        Regime::all(&record.outcome).iter().flat_map(of).collect()
    };
    let headings =
        QUANTITIES.iter().flat_map(|(name, ..)| [format!("{name}: power of r"), "±".into()]);
    Table {
        title: "Powers of the rank".into(),
        caption: "Least squares of the logarithms under each seed, over the ranks at which the same tensors are trained and move; the mean, and half \
                  its 95 % interval. A tensor alone: the others are held. Bent: it goes as no power; a dash: fewer than three ranks."
            .into(),
        headings: ["adapter", "scale", "ranks", "tensor"]
            .map(String::from)
            .into_iter()
            .chain(headings)
            .collect(),
        rows: records.iter().flat_map(rows).collect(),
    }
}

fn power(power: &Power) -> [Cell; 2] {
    match power {
        Power::Of(sample) => [sample.mean(), sample.half_width(1)].map(Cell::number),
        Power::Zero => [Cell::text("does not move"), Cell::number(None)],
        Power::Bent => [Cell::text("bent"), Cell::number(None)],
        Power::Untold => [Cell::number(None), Cell::number(None)],
    }
}

fn notes(records: Records) -> Vec<String> {
    let seeds = records.first().map_or(0, |record| record.parameters.seeds);
    vec![method(seeds as usize)]
}
