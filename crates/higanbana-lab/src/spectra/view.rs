//! The page of the chapter.

use super::{LEADING, LIKENESS, Moment, Parameters, Setting, Spectra, findings};
use crate::{
    chapter::Record,
    findings::{Sample, method},
    plot::{Axis, Marks, Palette, Point, Series, Style, plot},
    study::{Cell, Figure, Gallery, Study, Table, digits},
};

type Records<'a> = &'a [Record<Spectra>];

/// What is followed: its name, its axis, and how to read it.
type Followed = (&'static str, Axis, fn(&Moment) -> f64);

const INTRUDERS: &str = "Intruder dimensions";

fn followed() -> [Followed; 5] {
    [
        ("What is left of the task", Axis::linear("error"), |m| m.error),
        ("Size beside the base weights", Axis::logarithmic("‖ΔW‖ / ‖W₀‖"), |m| {
            m.relative
        }),
        ("Effective rank", Axis::logarithmic("effective rank"), |m| m.layer.effective_rank),
        ("Stable rank", Axis::logarithmic("stable rank"), |m| m.layer.stable_rank),
        (INTRUDERS, Axis::linear("intruders"), |m| m.layer.intruders),
    ]
}

/// Everything of one setting.
pub(super) struct Part<'a> {
    title: &'static str,
    caption: String,
    /// Begins a finding.
    pub place: &'static str,
    pub lines: Vec<Line<'a>>,
}

/// Runs of one adapter and size.
pub(super) struct Line<'a> {
    pub name: String,
    style: Style,
    runs: Vec<&'a Record<Spectra>>,
}

pub(super) fn study(records: Records) -> Study {
    let parts = parts(records);
    Study {
        title: "the spectra of updates while they are trained".into(),
        lead: "Every adapter, trained by Adam on new samples at each step; its updates are measured, whole, at steps 1, 2, 4 and so on. \
               Lines are means over the seeds; bands run from the least to the largest."
            .into(),
        findings: parts.iter().flat_map(findings::findings).collect(),
        galleries: parts
            .iter()
            .map(|part| Gallery {
                title: part.title.into(),
                caption: part.caption.clone(),
                figures: followed().iter().map(|what| figure(what, &part.lines)).collect(),
            })
            .collect(),
        tables: vec![table(records)],
        notes: notes(records),
        rerun: "higanbana reproduce spectra".into(),
    }
}

fn parts<'a>(records: Records<'a>) -> Vec<Part<'a>> {
    let palette = Palette::new(records.iter().map(|record| record.parameters.adapter.as_str()));
    let lines = |unet: bool| {
        let own = || {
            let own = records.iter().map(|record| (record, size(&record.parameters)));
            own.filter(move |(_, (of_unet, _))| *of_unet == unet)
        };
        let mut sizes: Vec<usize> = own().map(|(_, (_, size))| size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut lines: Vec<Line> = Vec::new();
        for (record, (_, size)) in own() {
            let adapter = &record.parameters.adapter;
            let name =
                if sizes.len() == 1 { adapter.clone() } else { format!("{adapter}, {size}") };
            let other = sizes.iter().position(|known| *known == size).unwrap_or(0);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.runs.push(record),
                None => {
                    let style = palette.style(adapter).other(other);
                    lines.push(Line { name, style, runs: vec![record] });
                }
            }
        }
        lines
    };
    let (regression, unet) = (lines(false), lines(true));
    let of = |line: &Line<'a>| line.runs.first().map(|run| &run.parameters);
    let mut parts = Vec::new();
    if let Some(Parameters { setting: Setting::Regression { size, distance, .. }, batch, .. }) =
        regression.first().and_then(of)
    {
        parts.push(Part {
            title: "A layer that is to become another",
            caption: format!(
                "A {size}×{size} layer and the same {} of its norm away, along singular values 1/k; batches of {batch}. What is left is \
                 ‖ΔW − D‖/‖D‖ with every rank. The task is the same at every time; one is drawn for each step, for adapters that leave \
                 ranks out by it. Adapters have the largest size within the budget.",
                digits(*distance)
            ),
            place: "In the regression",
            lines: regression,
        });
    }
    if let Some(Parameters { setting: Setting::Unet { .. }, batch, .. }) = unet.first().and_then(of)
    {
        parts.push(Part {
            title: "The UNet of Stable Diffusion, tiny",
            caption: format!(
                "SD 1’s UNet at two resolutions, of 16 and 32 channels, random weights, every layer adapted; batches of {batch} latents, to \
                 tell the noise. What is left is the root of the loss on latents that are not trained on, in units of that without an \
                 update. Ranks and intruders are means over the layers."
            ),
            place: "In the UNet",
            lines: unet,
        });
    }
    parts
}

/// Whether it is about the UNet, and what adapters' sizes are chosen by.
fn size(parameters: &Parameters) -> (bool, usize) {
    match parameters.setting {
        Setting::Regression { budget, .. } => (false, budget),
        Setting::Unet { rank } => (true, rank),
    }
}

impl Line<'_> {
    fn points(&self, of: fn(&Moment) -> f64) -> Vec<Point> {
        let moments = || self.runs.iter().flat_map(|run| &run.outcome);
        let mut steps: Vec<usize> = moments().map(|moment| moment.step).collect();
        steps.sort_unstable();
        steps.dedup();
        let at = |step: usize| {
            let values: Vec<f64> = moments().filter(|moment| moment.step == step).map(of).collect();
            Point::of_mean(step as f64, &values)
        };
        steps.into_iter().filter_map(at).collect()
    }

    /// A number of every run, by its seed.
    pub(super) fn sample(&self, of: impl Fn(&[Moment]) -> Option<f64>) -> Sample {
        Sample::of(
            self.runs.iter().filter_map(|run| Some((run.parameters.seed, of(&run.outcome)?))),
        )
    }
}

fn figure((title, axis, of): &Followed, lines: &[Line]) -> Figure {
    let series = |line: &Line| {
        let points = line.points(*of).into_iter();
        // Small whole numbers: bands of several lines would cover each other.
        let points = points.map(|point| match *title {
            INTRUDERS => Point::new(point.x, point.y),
            _ => point,
        });
        Series { name: line.name.clone(), style: line.style, points: points.collect() }
    };
    let series: Vec<Series> = lines.iter().map(series).collect();
    let note = match *title {
        INTRUDERS => format!(
            "; of the first {LEADING} left singular vectors of a tuned weight, those that are like none of the base’s, within {LIKENESS}"
        ),
        _ => String::new(),
    };
    Figure {
        caption: format!("{title} over the steps{note}."),
        svg: plot(title, [Axis::logarithmic("step"), *axis], Marks::Lines, &series),
    }
}

fn table(records: Records) -> Table {
    let headings = [
        "adapter",
        "network",
        "parameters",
        "seed",
        "step",
        "error",
        "‖ΔW‖/‖W₀‖",
        "spectral",
        "rank",
        "stable",
        "effective",
        "90 % of energy",
        "99 %",
        "intruders",
    ];
    let row = |(record, moment): (&Record<Spectra>, &Moment)| {
        let (unet, _) = size(&record.parameters);
        let layer = &moment.layer;
        vec![
            Cell::text(&record.parameters.adapter),
            Cell::text(if unet { "UNet" } else { "layer" }),
            Cell::count(moment.parameters),
            Cell::count(record.parameters.seed as usize),
            Cell::count(moment.step),
            Cell::number(moment.error),
            Cell::number(moment.relative),
            Cell::number(layer.spectral),
            Cell::number(layer.rank),
            Cell::number(layer.stable_rank),
            Cell::number(layer.effective_rank),
            Cell::number(layer.rank_90),
            Cell::number(layer.rank_99),
            Cell::number(layer.intruders),
        ]
    };
    let pairs =
        records.iter().flat_map(|record| record.outcome.iter().map(move |moment| (record, moment)));
    Table {
        title: "Every moment".into(),
        caption: "Spectral is ‖ΔW‖₂/‖W₀‖₂; from there on, of the UNet, means over the layers."
            .into(),
        headings: headings.map(Into::into).into(),
        rows: pairs.map(row).collect(),
    }
}

/// Budgets that no size meets.
fn notes(records: Records) -> Vec<String> {
    let over = |record: &Record<Spectra>| {
        let Setting::Regression { budget, .. } = record.parameters.setting else { return None };
        let parameters = record.outcome.first()?.parameters;
        let adapter = &record.parameters.adapter;
        (parameters > budget).then(|| {
            format!("{adapter} has no size within {budget}: its smallest, {parameters} parameters, is used.")
        })
    };
    let seeds = records.iter().map(|record| record.parameters.seed + 1).max().unwrap_or_default();
    let mut notes = vec![method(seeds as usize)];
    notes.extend(records.iter().filter_map(over));
    notes.dedup();
    notes
}
