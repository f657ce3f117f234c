//! The page of the chapter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Cell as Found, Expressivity,
    targets::{FAMILIES, Family},
};
use crate::{
    chapter::Record,
    findings::method,
    plot::{Axis, Marks, Palette, Point, Series, plot},
    study::{Cell, Figure, Gallery, Study, Table, list},
};

pub(super) type Records<'a> = &'a [Record<Expressivity>];

/// Everything that was found for one line of a figure: an algorithm, or sums of it.
pub(super) struct Line<'a> {
    pub name: String,
    adapter: &'a str,
    sum: bool,
    pub family: &'a str,
    pub cells: Vec<&'a Found>,
}

/// Everything but the findings.
pub(super) fn study(records: Records) -> Study {
    let lines = lines(records);
    let n = records.first().map_or(0, |record| record.parameters.size);
    let palette = Palette::new(lines.iter().map(|line| line.adapter));
    Study {
        title: "how near each adapter comes".into(),
        lead: format!(
            "Updates of a {n}×{n} weight from {} families, a quarter of the weight in norm, and the nearest that each algorithm \
             comes to them within a budget of parameters: ‖ΔW − T‖/‖T‖, 0 where the update is met and 1 where nothing of it is.",
            FAMILIES.len()
        ),
        galleries: vec![Gallery {
            title: "Error for the parameters it costs".into(),
            caption: format!(
                "One figure for each family; bands run from the least to the largest of its targets. A dense update has {} parameters. \
                 Dotted: sums of several adapters.",
                n * n
            ),
            figures: FAMILIES.iter().map(|family| figure(family, &lines, &palette)).collect(),
        }],
        tables: vec![heat(&lines, middle(records)), all(records)],
        notes: notes(records),
        rerun: "higanbana reproduce expressivity".into(),
        ..Study::default()
    }
}

fn cells<'a>(records: Records<'a>) -> impl Iterator<Item = &'a Found> {
    records.iter().flat_map(|record| &record.outcome)
}

/// The budget that tables and findings are about.
pub(super) fn middle(records: Records) -> usize {
    let budgets: BTreeSet<usize> = cells(records).map(|cell| cell.budget).collect();
    budgets.iter().copied().nth(budgets.len() / 2).unwrap_or_default()
}

/// One for each algorithm and family, and one for its sums where there are any.
pub(super) fn lines<'a>(records: Records<'a>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for Record { parameters, outcome } in records {
        for sum in [false, true] {
            let cells: Vec<&Found> =
                outcome.iter().filter(|cell| (cell.terms > 1) == sum).collect();
            let name = match sum {
                false => parameters.adapter.clone(),
                true => format!("sums of {}", parameters.adapter),
            };
            if !cells.is_empty() {
                let (adapter, family) = (&*parameters.adapter, &*parameters.family);
                lines.push(Line { name, adapter, sum, family, cells });
            }
        }
    }
    lines
}

impl Line<'_> {
    /// What was found within a budget.
    pub(super) fn at(&self, budget: usize) -> impl Iterator<Item = &Found> {
        self.cells.iter().copied().filter(move |cell| cell.budget == budget)
    }

    /// Mean error within a budget.
    fn error(&self, budget: usize) -> Option<f64> {
        let errors: Vec<f64> = self.at(budget).map(|cell| cell.error).collect();
        Point::of_mean(0.0, &errors).map(|point| point.y)
    }

    /// Errors by the budget; where no size keeps to it, by the parameters that are spent.
    fn points(&self) -> Vec<Point> {
        let mut by_parameters = BTreeMap::<usize, Vec<f64>>::new();
        for cell in &self.cells {
            let spent = cell.parameters.max(cell.budget);
            by_parameters.entry(spent).or_default().push(cell.error);
        }
        let point =
            |(parameters, errors): (usize, Vec<f64>)| Point::of_mean(parameters as f64, &errors);
        by_parameters.into_iter().filter_map(point).collect()
    }
}

fn figure(family: &Family, lines: &[Line], palette: &Palette) -> Figure {
    let own = lines.iter().filter(|line| line.family == family.name);
    let series = own.map(|line| Series {
        name: line.name.clone(),
        style: palette.style(line.adapter).other(usize::from(line.sum)),
        points: line.points(),
    });
    let axes = [Axis::logarithmic("parameters"), Axis::linear("error")];
    Figure {
        caption: format!("{}: an update {}.", family.name, family.title),
        svg: plot(family.name, axes, Marks::Lines, &series.collect::<Vec<_>>()),
    }
}

fn names<'a>(lines: &'a [Line]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for line in lines {
        if !names.contains(&line.name.as_str()) {
            names.push(&line.name);
        }
    }
    names
}

fn heat(lines: &[Line], budget: usize) -> Table {
    let row = |name: &str| {
        let error = |family: &Family| {
            let line = lines.iter().find(|line| line.name == name && line.family == family.name);
            Cell::shaded(line.and_then(|line| line.error(budget)))
                .at_most(line.is_some_and(|line| line.at(budget).any(|cell| cell.cut_off)))
        };
        std::iter::once(Cell::text(name)).chain(FAMILIES.iter().map(error)).collect()
    };
    Table {
        title: format!("Within {budget} parameters"),
        caption: "Mean error of each algorithm for each family; the darker, the less of the update is met. ≤ where a descent was \
                  cut off; a size that exceeds the budget because there is no smaller one is in the notes."
            .into(),
        headings: std::iter::once("algorithm").chain(FAMILIES.iter().map(|f| f.name)).map(Into::into).collect(),
        rows: names(lines).into_iter().map(row).collect(),
    }
}

fn all(records: Records) -> Table {
    let headings = [
        "algorithm",
        "family",
        "budget",
        "parameters",
        "size",
        "terms",
        "error",
        "closed form",
        "descent",
        "rank",
        "stable rank",
        "target",
    ];
    let row = |(record, cell): (&Record<Expressivity>, &Found)| {
        vec![
            Cell::text(&record.parameters.adapter),
            Cell::text(&record.parameters.family),
            Cell::count(cell.budget),
            Cell::count(cell.parameters),
            Cell::text(&cell.size),
            Cell::count(cell.terms),
            Cell::number(cell.error).at_most(cell.cut_off),
            Cell::number(cell.closed),
            Cell::number(cell.descent),
            Cell::count(cell.rank),
            Cell::number(cell.stable_rank),
            Cell::count(cell.seed as usize),
        ]
    };
    let pairs =
        records.iter().flat_map(|record| record.outcome.iter().map(move |cell| (record, cell)));
    Table {
        title: "Every approximation".into(),
        caption: "Terms are adapters of one size that are added up.".into(),
        headings: headings.map(Into::into).into(),
        rows: pairs.map(row).collect(),
    }
}

/// Descents that were cut off, and budgets that no size meets.
fn notes(records: Records) -> Vec<String> {
    let mut cut = BTreeMap::<&str, usize>::new();
    for record in records {
        let own = record.outcome.iter().filter(|cell| cell.cut_off).count();
        *cut.entry(&record.parameters.adapter).or_default() += own;
    }
    let cut: Vec<String> = cut
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let steps = records.first().map_or(0, |record| record.parameters.steps);
    let cut = (!cut.is_empty()).then(|| {
        format!(
            "Of {} approximations, some are of descents that were still falling after {steps} steps, and are upper bounds, marked ≤ below: {}.",
            cells(records).count(),
            list(cut.iter().map(String::as_str))
        )
    });
    let mut over = BTreeMap::<&str, BTreeSet<(usize, usize)>>::new();
    for record in records {
        for cell in record.outcome.iter().filter(|cell| cell.parameters > cell.budget) {
            over.entry(&record.parameters.adapter)
                .or_default()
                .insert((cell.budget, cell.parameters));
        }
    }
    let over = over.into_iter().map(|(name, pairs)| {
        let budgets: Vec<String> = pairs.iter().map(|(budget, _)| budget.to_string()).collect();
        let parameters = pairs.first().map_or(0, |(_, parameters)| *parameters);
        format!(
            "{name} has no size within {}: its smallest, {parameters} parameters, is used.",
            budgets.join(", ")
        )
    });
    let seeds = records.first().map_or(0, |record| record.parameters.seeds);
    [method(seeds as usize)].into_iter().chain(cut).chain(over).collect()
}
