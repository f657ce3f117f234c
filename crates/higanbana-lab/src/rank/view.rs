//! The page of the chapter.

use super::{FIT_STEPS, Parameters, Rank, Size, Small};
use crate::{
    chapter::Record,
    plot::{Axis, Marks, Palette, Point, Series, Style, plot},
    study::{Cell, Figure, Gallery, Study, Table},
};

pub(super) type Records<'a> = &'a [Record<Rank>];

/// Everything but the findings.
pub(super) fn study(records: Records) -> Study {
    let shapes = shapes(records);
    let palette = Palette::new(records.iter().map(|record| record.parameters.adapter.as_str()));
    let drawn = shapes
        .iter()
        .filter(|shape| shape.len() == 2)
        .max_by_key(|shape| shape.iter().product::<usize>());
    let figures = drawn.map_or_else(Vec::new, |shape| figures(records, shape, &palette));
    Study {
        title: "rank for the parameters it costs".into(),
        lead: format!(
            "The update of every adapter with random factors, on {} shapes of weight; its rank against the closed bound, against its \
             parameters, and how many of those are degrees of freedom.",
            shapes.len()
        ),
        galleries: vec![Gallery {
            title: "Rank, spectrum and freedom".into(),
            caption: "One colour and mark for each algorithm; dashed, what is built upon it or one of its options.".into(),
            figures: figures.into_iter().chain(freedom_figure(records, &palette)).collect(),
        }],
        tables: vec![small_table(records), table(records)],
        notes: notes(records),
        rerun: "higanbana reproduce rank".into(),
        ..Study::default()
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

pub(super) fn sizes<'a>(
    records: Records<'a>,
) -> impl Iterator<Item = (&'a str, &'a [usize], &'a Size)> {
    records.iter().flat_map(|Record { parameters, outcome }| {
        outcome.iter().map(move |size| (parameters.adapter.as_str(), &parameters.shape[..], size))
    })
}

pub(super) fn small<'a>(
    records: Records<'a>,
) -> impl Iterator<Item = (&'a str, &'a [usize], &'a Size, &'a Small)> {
    sizes(records).filter_map(|(name, shape, size)| Some((name, shape, size, size.small.as_ref()?)))
}

pub(super) fn named(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// An algorithm, with its factor where that is not the default one.
fn name(parameters: &Parameters) -> String {
    match parameters.factor {
        None | Some(-1) => parameters.adapter.clone(),
        Some(factor) => format!("{}, factor {factor}", parameters.adapter),
    }
}

fn style(parameters: &Parameters, palette: &Palette) -> Style {
    let style = palette.style(&parameters.adapter);
    match parameters.factor {
        None | Some(-1) => style,
        Some(_) => style.other(1),
    }
}

fn figures(records: Records, shape: &[usize], palette: &Palette) -> Vec<Figure> {
    let here = || {
        records
            .iter()
            .filter(|record| record.parameters.shape == shape && !record.outcome.is_empty())
    };
    let by_parameters = |of: fn(&Size) -> f64| -> Vec<Series> {
        let series = here().map(|record| Series {
            name: name(&record.parameters),
            style: style(&record.parameters, palette),
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
        let name = match size.size.is_empty() {
            true => record.parameters.adapter.clone(),
            false => format!("{}, {}", record.parameters.adapter, size.size),
        };
        Series { name, style: style(&record.parameters, palette), points: points.collect() }
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

fn freedom_figure(records: Records, palette: &Palette) -> Option<Figure> {
    let (_, shape, ..) = small(records).find(|(_, shape, ..)| shape.len() == 2)?;
    let plain = |record: &&Record<Rank>| {
        record.parameters.shape == shape && !record.parameters.adapter.contains(':')
    };
    let series = records.iter().filter(plain).map(|Record { parameters, outcome }| {
        let degrees = |size: &Size| {
            let degrees = size.small.as_ref()?.degrees as f64;
            Some(Point::new(size.parameters as f64, degrees))
        };
        let points = outcome.iter().filter_map(degrees).collect();
        Series { name: name(parameters), style: style(parameters, palette), points }
    });
    let series: Vec<Series> = series.collect();
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
        "size",
        "parameters",
        "degrees of freedom",
        "gauge",
        "bound",
        "rank",
        "rank, fitted",
        "effective",
        "effective, fitted",
        "error, fitted",
        "spectrum moves by",
    ];
    let row = |(name, shape, size, small): (&str, &[usize], &Size, &Small)| {
        vec![
            Cell::text(name),
            Cell::text(named(shape)),
            Cell::text(&size.size),
            Cell::count(size.parameters),
            Cell::count(small.degrees),
            Cell::count(small.gauge),
            Cell::count(size.bound),
            Cell::count(size.random.rank),
            Cell::count(small.fitted.rank),
            Cell::number(size.random.effective_rank),
            Cell::number(small.fitted.effective_rank),
            Cell::number(small.error).at_most(small.cut_off),
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
        "size",
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
            Cell::text(&size.size),
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

/// Fits that were cut off.
fn notes(records: Records) -> Vec<String> {
    let cut = small(records).filter(|(.., small)| small.cut_off).count();
    let note = || {
        format!(
            "{cut} of {} fits to a random update were still falling after {FIT_STEPS} steps; the measures are those of where they stood, \
             and their errors, marked ≤ below, upper bounds.",
            small(records).count()
        )
    };
    (cut > 0).then(note).into_iter().collect()
}
