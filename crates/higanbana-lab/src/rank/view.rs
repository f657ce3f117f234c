//! The page of the chapter.

use std::collections::BTreeMap;

use super::{Rank, Size, Small};
use crate::{
    chapter::Record,
    plot::{Axis, Marks, Point, Series, plot},
    study::{Cell, Figure, Study, Table, digits, list},
};

/// A change of a singular value that is rounding.
const KEPT: f64 = 1e-10;

type Records<'a> = &'a [Record<Rank>];

pub(super) fn study(records: Records) -> Study {
    let shapes = shapes(records);
    let drawn = shapes
        .iter()
        .filter(|shape| shape.len() == 2)
        .max_by_key(|shape| shape.iter().product::<usize>());
    let figures = drawn.map_or_else(Vec::new, |shape| figures(records, shape));
    Study {
        title: "rank for the parameters it costs".into(),
        lead: format!(
            "The update of every adapter with random factors, on {} shapes of weight; its rank against the closed bound, against its \
             parameters, and how many of those are degrees of freedom.",
            shapes.len()
        ),
        findings: findings(records),
        figures: figures.into_iter().chain(freedom_figure(records)).collect(),
        tables: vec![small_table(records), table(records)],
        notes: Vec::new(),
        rerun: "higanbana reproduce rank".into(),
    }
}

fn shapes(records: Records) -> Vec<Vec<usize>> {
    let mut shapes: Vec<Vec<usize>> = Vec::new();
    for record in records {
        if !shapes.contains(&record.parameters.shape) {
            shapes.push(record.parameters.shape.clone());
        }
    }
    shapes
}

fn sizes<'a>(records: Records<'a>) -> impl Iterator<Item = (&'a str, &'a [usize], &'a Size)> {
    records.iter().flat_map(|Record { parameters, outcome }| {
        outcome.iter().map(move |size| (parameters.adapter.as_str(), &parameters.shape[..], size))
    })
}

fn small<'a>(
    records: Records<'a>,
) -> impl Iterator<Item = (&'a str, &'a [usize], &'a Size, &'a Small)> {
    sizes(records).filter_map(|(name, shape, size)| Some((name, shape, size, size.small.as_ref()?)))
}

fn named(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

fn figures(records: Records, shape: &[usize]) -> Vec<Figure> {
    let here = || {
        records
            .iter()
            .filter(|record| record.parameters.shape == shape && !record.outcome.is_empty())
    };
    let by_parameters = |of: fn(&Size) -> f64| -> Vec<Series> {
        let series = here().map(|record| Series {
            name: record.parameters.adapter.clone(),
            points: record
                .outcome
                .iter()
                .map(|size| Point::new(size.parameters as f64, of(size)))
                .collect(),
        });
        series.collect()
    };
    let spectra = here().map(|record| {
        let size = &record.outcome[record.outcome.len() / 2];
        let points = size.spectrum.iter().map(|(at, value)| Point::new(*at, value.max(1e-6)));
        let rank = size.option.map_or_else(String::new, |rank| format!(", rank {rank}"));
        let name = format!("{}{rank}", record.parameters.adapter);
        Series { name, points: points.collect() }
    });
    let parameters = Axis::logarithmic("parameters");
    let at = named(shape);
    vec![
        Figure {
            caption: format!("Rank against parameters, {at}: what random factors attain."),
            svg: plot(
                "rank",
                [parameters, Axis::logarithmic("rank")],
                Marks::Lines,
                &by_parameters(|size| size.random.rank as f64),
            ),
        },
        Figure {
            caption: format!(
                "Effective rank against parameters, {at}: how many directions carry the same update."
            ),
            svg: plot(
                "effective rank",
                [parameters, Axis::logarithmic("effective rank")],
                Marks::Lines,
                &by_parameters(|size| size.random.effective_rank),
            ),
        },
        Figure {
            caption: format!(
                "Spectra, {at}: singular values in units of the largest; values below 1e-6 are drawn there."
            ),
            svg: plot(
                "spectrum",
                [Axis::linear("position in the spectrum"), Axis::logarithmic("σ / σ₁")],
                Marks::Curves,
                &spectra.collect::<Vec<_>>(),
            ),
        },
    ]
}

fn freedom_figure(records: Records) -> Option<Figure> {
    let mut series = Vec::<Series>::new();
    let (_, shape, ..) = small(records).find(|(_, shape, ..)| shape.len() == 2)?;
    for (name, _, size, small) in
        small(records).filter(|(name, at, ..)| *at == shape && !name.contains(':'))
    {
        let point = Point::new(size.parameters as f64, small.degrees as f64);
        match series.last_mut().filter(|last| last.name == name) {
            Some(last) => last.points.push(point),
            None => series.push(Series { name: name.into(), points: vec![point] }),
        }
    }
    Some(Figure {
        caption: format!(
            "Degrees of freedom against parameters, {}: the rank of the Jacobian of the update.",
            named(shape)
        ),
        svg: plot(
            "degrees of freedom",
            [Axis::logarithmic("parameters"), Axis::logarithmic("degrees of freedom")],
            Marks::Lines,
            &series,
        ),
    })
}

fn small_table(records: Records) -> Table {
    let headings = [
        "adapter",
        "shape",
        "rank option",
        "parameters",
        "degrees of freedom",
        "gauge",
        "bound",
        "rank",
        "rank, fitted",
        "effective",
        "effective, fitted",
        "spectrum moves by",
    ];
    let row = |(name, shape, size, small): (&str, &[usize], &Size, &Small)| {
        vec![
            Cell::text(name),
            Cell::text(named(shape)),
            size.option.map_or(Cell::text("–"), Cell::count),
            Cell::count(size.parameters),
            Cell::count(small.degrees),
            Cell::count(small.gauge),
            Cell::count(size.bound),
            Cell::count(size.random.rank),
            Cell::count(small.fitted.rank),
            Cell::number(size.random.effective_rank),
            Cell::number(small.fitted.effective_rank),
            Cell::number(small.shift),
        ]
    };
    Table {
        title: "Small layers, every set of options".into(),
        caption: "Gauge directions move the parameters and not the update. Fitted: the nearest update to a random one. The last column \
                  is the largest change of a singular value of the base weight by a random update, in units of the largest."
            .into(),
        headings: headings.map(Into::into).into(),
        rows: small(records).map(row).collect(),
    }
}

fn table(records: Records) -> Table {
    let headings = [
        "adapter",
        "shape",
        "rank option",
        "parameters",
        "bound",
        "rank",
        "stable",
        "effective",
        "90 % of energy",
        "99 %",
    ];
    let row = |(name, shape, size): (&str, &[usize], &Size)| {
        vec![
            Cell::text(name),
            Cell::text(named(shape)),
            size.option.map_or(Cell::text("–"), Cell::count),
            Cell::count(size.parameters),
            Cell::count(size.bound),
            Cell::count(size.random.rank),
            Cell::number(size.random.stable_rank),
            Cell::number(size.random.effective_rank),
            Cell::count(size.random.rank_90),
            Cell::count(size.random.rank_99),
        ]
    };
    Table {
        title: "Layers of Stable Diffusion 1.5".into(),
        caption: "Random factors; the matrix is [out, in·kernel].".into(),
        headings: headings.map(Into::into).into(),
        rows: sizes(records).filter(|(.., size)| size.small.is_none()).map(row).collect(),
    }
}

fn findings(records: Records) -> Vec<String> {
    let all = || sizes(records);
    let (count, attained) =
        (all().count(), all().filter(|(.., size)| size.random.rank == size.bound).count());
    let above: Vec<_> = all().filter(|(.., size)| size.random.rank > size.bound).collect();
    let mut findings = vec![format!(
        "Random factors attain the bound in {attained} of {count} cases and exceed it in {}.",
        above.len()
    )];
    if let Some((name, shape, size)) = all()
        .filter(|(.., size)| size.random.rank < size.bound)
        .max_by_key(|(.., size)| size.bound - size.random.rank)
    {
        findings.push(format!(
            "The bound is farthest from attained by {name} on {}: rank {} of {}.",
            named(shape),
            size.random.rank,
            size.bound
        ));
    }
    findings.extend(cheapest(records));
    findings.extend(gauge(records));
    let mut keep: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, _, _, small) in small(records) {
        let most = keep.entry(name).or_default();
        *most = most.max(small.shift);
    }
    let kept: Vec<&str> =
        keep.iter().filter(|(_, shift)| **shift < KEPT).map(|(name, _)| *name).collect();
    findings.push(format!(
        "The base weight keeps every singular value, whatever the update is, under {}.",
        list(kept)
    ));
    findings.extend(fitted(records));
    findings
}

/// Full rank for the fewest parameters on the largest layer.
fn cheapest(records: Records) -> Option<String> {
    let large = sizes(records).filter(|(_, shape, size)| {
        // On the narrowest layers everything is full of rank.
        let cols = shape[1..].iter().product::<usize>();
        size.small.is_none() && size.random.rank == shape[0].min(cols) && shape[0].min(cols) > 64
    });
    let share = |shape: &[usize], size: &Size| {
        size.parameters as f64 / shape.iter().product::<usize>() as f64
    };
    let (name, shape, size) =
        large.min_by(|(_, a, x), (_, b, y)| share(a, x).total_cmp(&share(b, y)))?;
    Some(format!(
        "Full rank for the smallest share of a dense update: {name} on {}, rank {} with {} parameters, {} % of {}.",
        named(shape),
        size.random.rank,
        size.parameters,
        digits(100.0 * share(shape, size)),
        shape.iter().product::<usize>()
    ))
}

/// Who spends parameters on nothing.
fn gauge(records: Records) -> Option<String> {
    let share = |size: &Size, small: &Small| small.gauge as f64 / size.parameters as f64;
    let largest = small(records)
        .filter(|(.., it)| it.degrees > 0)
        .max_by(|(_, _, a, x), (_, _, b, y)| share(a, x).total_cmp(&share(b, y)))?;
    let (name, shape, size, most) = largest;
    let mut free: Vec<&str> = Vec::new();
    for (name, ..) in small(records) {
        if !free.contains(&name)
            && small(records)
                .filter(|(other, ..)| *other == name)
                .all(|(_, _, _, it)| it.gauge == 0)
        {
            free.push(name);
        }
    }
    Some(format!(
        "Every parameter is a degree of freedom of {}; the largest share of gauge directions has {name} on {}: {} of {} parameters move nothing.",
        list(free),
        named(shape),
        most.gauge,
        size.parameters
    ))
}

/// What fitting does to the effective rank.
fn fitted(records: Records) -> Option<String> {
    let ratios: Vec<(f64, &str)> = small(records)
        .filter(|(_, _, size, _)| size.random.effective_rank > 0.0)
        .map(|(name, _, size, small)| {
            (small.fitted.effective_rank / size.random.effective_rank, name)
        })
        .collect();
    let most = ratios.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let least = ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "Fitting to a random update changes the effective rank of random factors by a factor between {} ({}) and {} ({}).",
        digits(least.0),
        least.1,
        digits(most.0),
        most.1
    ))
}
