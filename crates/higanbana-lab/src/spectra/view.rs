//! The page of the chapter.

use super::{LEADING, LIKENESS, Moment, Spectra};
use crate::{
    chapter::Record,
    plot::{Axis, Marks, Point, Series, plot},
    study::{Cell, Figure, Study, Table, digits, list},
};

type Records<'a> = &'a [Record<Spectra>];

/// What is followed: its name, its axis, and how to read it.
type Followed = (&'static str, Axis, fn(&Moment) -> f64);

fn followed() -> [Followed; 5] {
    [
        ("Distance to the goal", Axis::logarithmic("error"), |m| m.error),
        ("Size beside the base weight", Axis::logarithmic("‖ΔW‖ / ‖W₀‖"), |m| {
            m.relative
        }),
        ("Effective rank", Axis::logarithmic("effective rank"), |m| m.measures.effective_rank),
        ("Stable rank", Axis::logarithmic("stable rank"), |m| m.measures.stable_rank),
        ("Intruder dimensions", Axis::linear("intruders"), |m| m.intruders as f64),
    ]
}

/// Runs of one adapter and budget.
struct Line<'a> {
    name: String,
    runs: Vec<&'a Record<Spectra>>,
}

pub(super) fn study(records: Records) -> Study {
    let lines = lines(records);
    let (n, distance) =
        records.first().map_or((0, 0.0), |it| (it.parameters.size, it.parameters.distance));
    Study {
        title: "the spectrum of an update while it is trained".into(),
        lead: format!(
            "A {n}×{n} layer is to become another, {} of its norm away, along singular values 1/k. Each adapter is trained on fresh batches \
             by Adam; its update is measured at steps 1, 2, 4 and so on.",
            digits(distance)
        ),
        findings: findings(&lines),
        figures: followed().iter().map(|what| figure(what, &lines)).collect(),
        tables: vec![table(records)],
        notes: Vec::new(),
        rerun: "higanbana reproduce spectra".into(),
    }
}

fn lines<'a>(records: Records<'a>) -> Vec<Line<'a>> {
    let mut budgets: Vec<usize> = records.iter().map(|record| record.parameters.budget).collect();
    budgets.dedup();
    let several = budgets.iter().any(|budget| *budget != budgets[0]);
    let mut lines: Vec<Line> = Vec::new();
    for record in records {
        let name = match several {
            false => record.parameters.adapter.clone(),
            true => format!("{}, {}", record.parameters.adapter, record.parameters.budget),
        };
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.runs.push(record),
            None => lines.push(Line { name, runs: vec![record] }),
        }
    }
    lines
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

    /// First and last of what is followed.
    fn ends(&self, of: fn(&Moment) -> f64) -> Option<[f64; 2]> {
        let points = self.points(of);
        Some([points.first()?.y, points.last()?.y])
    }
}

fn figure((title, axis, of): &Followed, lines: &[Line]) -> Figure {
    let series: Vec<Series> = lines
        .iter()
        .map(|line| Series { name: line.name.clone(), points: line.points(*of) })
        .collect();
    let note = match *title {
        "Intruder dimensions" => format!(
            "; of the first {LEADING} left singular vectors of the tuned weight, those that are like none of the base’s, within {LIKENESS}"
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
        "parameters",
        "seed",
        "step",
        "error",
        "‖ΔW‖/‖W₀‖",
        "spectral norm",
        "rank",
        "stable",
        "effective",
        "90 % of energy",
        "99 %",
        "intruders",
    ];
    let row = |(record, moment): (&Record<Spectra>, &Moment)| {
        let measures = &moment.measures;
        vec![
            Cell::text(&record.parameters.adapter),
            Cell::count(moment.parameters),
            Cell::count(record.parameters.seed as usize),
            Cell::count(moment.step),
            Cell::number(moment.error),
            Cell::number(moment.relative),
            Cell::number(measures.spectral),
            Cell::count(measures.rank),
            Cell::number(measures.stable_rank),
            Cell::number(measures.effective_rank),
            Cell::count(measures.rank_90),
            Cell::count(measures.rank_99),
            Cell::count(moment.intruders),
        ]
    };
    let pairs =
        records.iter().flat_map(|record| record.outcome.iter().map(move |moment| (record, moment)));
    Table {
        title: "Every moment".into(),
        caption: "The size is the largest within the budget, or the smallest there is.".into(),
        headings: headings.map(Into::into).into(),
        rows: pairs.map(row).collect(),
    }
}

fn findings(lines: &[Line]) -> Vec<String> {
    let ends = |of: fn(&Moment) -> f64| -> Vec<(&str, [f64; 2])> {
        lines.iter().filter_map(|line| Some((line.name.as_str(), line.ends(of)?))).collect()
    };
    let mut findings = Vec::new();
    let errors = ends(|m| m.error);
    let by_last = |a: &&(&str, [f64; 2]), b: &&(&str, [f64; 2])| a.1[1].total_cmp(&b.1[1]);
    if let (Some(best), Some(worst)) =
        (errors.iter().min_by(by_last), errors.iter().max_by(by_last))
    {
        findings.push(format!(
            "At the last step {} is nearest to the goal, with an error of {}, and {} farthest, with {}.",
            best.0, digits(best.1[1]), worst.0, digits(worst.1[1])
        ));
    }
    let ranks = ends(|m| m.measures.effective_rank);
    let (fall, grow): (Vec<_>, Vec<_>) = ranks.iter().partition(|(_, [first, last])| last < first);
    let names = |all: &[&(&str, [f64; 2])]| list(all.iter().map(|(name, _)| *name));
    findings.push(format!(
        "From the first step to the last, the effective rank of the update falls for {} and grows for {}.",
        names(&fall), names(&grow)
    ));
    let intruders = ends(|m| m.intruders as f64);
    let with: Vec<String> = intruders
        .iter()
        .filter(|(_, [_, last])| *last > 0.0)
        .map(|(name, [_, last])| format!("{name} ({})", digits(*last)))
        .collect();
    findings.push(format!(
        "Intruder dimensions at the last step: {}; of {} adapters.",
        list(with.iter().map(String::as_str)),
        intruders.len()
    ));
    findings
}
