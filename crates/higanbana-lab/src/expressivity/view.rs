//! The page of the chapter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Cell as Found, Expressivity,
    targets::{FAMILIES, Family},
};
use crate::{
    chapter::Record,
    plot::{Axis, Marks, Point, Series, plot},
    study::{Cell, Figure, Study, Table, digits, list},
};

/// An error that counts as none.
const EXACT: f64 = 1e-6;

type Records<'a> = &'a [Record<Expressivity>];

/// Everything that was found for one line of a figure: an algorithm, or sums of it.
struct Line<'a> {
    name: String,
    family: &'a str,
    cells: Vec<&'a Found>,
}

pub(super) fn study(records: Records) -> Study {
    let lines = lines(records);
    let n = records.first().map_or(0, |record| record.parameters.size);
    let budgets: BTreeSet<usize> = cells(records).map(|cell| cell.budget).collect();
    let middle = budgets.iter().copied().nth(budgets.len() / 2).unwrap_or_default();
    Study {
        title: "how near each adapter comes".into(),
        lead: format!(
            "Updates of a {n}×{n} weight from {} families, a quarter of the weight in norm, and the nearest that each algorithm \
             comes to them within a budget of parameters: ‖ΔW − T‖/‖T‖, 0 where the update is met and 1 where nothing of it is.",
            FAMILIES.len()
        ),
        findings: findings(records, &lines, middle),
        figures: FAMILIES.iter().map(|family| figure(family, &lines, n)).collect(),
        tables: vec![heat(&lines, middle), all(records)],
        notes: notes(records),
        rerun: "higanbana reproduce expressivity".into(),
    }
}

fn cells<'a>(records: Records<'a>) -> impl Iterator<Item = &'a Found> {
    records.iter().flat_map(|record| &record.outcome)
}

/// One for each algorithm and family, and one for its sums where there are any.
fn lines<'a>(records: Records<'a>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for Record { parameters, outcome } in records {
        for sum in [false, true] {
            let cells: Vec<&Found> =
                outcome.iter().filter(|cell| (cell.terms > 1) == sum).collect();
            let name = match sum {
                false => parameters.adapter.clone(),
                true => format!("{}, sums", parameters.adapter),
            };
            if !cells.is_empty() {
                lines.push(Line { name, family: &parameters.family, cells });
            }
        }
    }
    lines
}

impl Line<'_> {
    /// Mean error within a budget.
    fn error(&self, budget: usize) -> Option<f64> {
        let errors: Vec<f64> =
            self.cells.iter().filter(|cell| cell.budget == budget).map(|cell| cell.error).collect();
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

fn figure(family: &Family, lines: &[Line], n: usize) -> Figure {
    let own = lines.iter().filter(|line| line.family == family.name);
    let series: Vec<Series> =
        own.map(|line| Series { name: line.name.clone(), points: line.points() }).collect();
    let axes = [Axis::logarithmic("parameters"), Axis::linear("error")];
    Figure {
        caption: format!(
            "{}, {}. Bands run from the least to the largest of the targets; a dense update has {} parameters.",
            family.name,
            family.title,
            n * n
        ),
        svg: plot(family.name, axes, Marks::Lines, &series),
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
        };
        std::iter::once(Cell::text(name)).chain(FAMILIES.iter().map(error)).collect()
    };
    Table {
        title: format!("Within {budget} parameters"),
        caption: "Mean error of each algorithm for each family; the darker, the less of the update is met. A size that exceeds \
                  the budget because there is no smaller one is in the notes."
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
            Cell::number(cell.error),
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

fn findings(records: Records, lines: &[Line], budget: usize) -> Vec<String> {
    let mut findings: Vec<String> =
        FAMILIES.iter().filter_map(|family| nearest(family, lines, budget)).collect();
    findings.extend(check(records));
    findings.extend(linear(lines, records));
    findings
}

/// Who is nearest within a budget that it keeps to.
fn nearest(family: &Family, lines: &[Line], budget: usize) -> Option<String> {
    let keeps = |line: &&Line| {
        line.family == family.name
            && line
                .cells
                .iter()
                .filter(|cell| cell.budget == budget)
                .all(|cell| cell.parameters <= budget)
    };
    let mut errors: Vec<(f64, &str)> = lines
        .iter()
        .filter(keeps)
        .filter_map(|line| Some((line.error(budget)?, line.name.as_str())))
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (best, worst) = (errors.first()?, errors.last()?);
    let exact: Vec<&str> =
        errors.iter().filter(|(e, _)| *e < EXACT).map(|(_, name)| *name).collect();
    let start =
        format!("Within {budget} parameters, a target {} ({}) is", family.title, family.name);
    Some(match exact[..] {
        [] => format!(
            "{start} met best by {}, up to {}, and worst by {}, up to {}.",
            best.1,
            digits(best.0),
            worst.1,
            digits(worst.0)
        ),
        _ => format!(
            "{start} met by {}; worst by {}, up to {}.",
            list(exact),
            worst.1,
            digits(worst.0)
        ),
    })
}

/// Whether the descent finds what is known.
fn check(records: Records) -> Option<String> {
    let gaps: Vec<(f64, &str)> = records
        .iter()
        .flat_map(|record| record.outcome.iter().map(move |cell| (record, cell)))
        .filter_map(|(record, cell)| {
            Some((cell.descent? - cell.closed?, record.parameters.adapter.as_str()))
        })
        .collect();
    let largest = gaps.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let least = gaps.iter().map(|(gap, _)| *gap).fold(f64::INFINITY, f64::min);
    let near = gaps.iter().filter(|(gap, _)| *gap < 1e-4).count();
    Some(format!(
        "Where a closed form is known, the descent ends within 1e-4 of it in {near} of {} cases, at most {} above it ({}), \
         and never below it by more than {}.",
        gaps.len(),
        digits(largest.0),
        largest.1,
        digits((-least).max(0.0))
    ))
}

/// Against what any fixed linear subspace of the same dimension meets of an update without structure.
fn linear(lines: &[Line], records: Records) -> Option<String> {
    let n = records.first()?.parameters.size;
    let excess = |cell: &Found| {
        let subspace = (1.0 - cell.parameters as f64 / (n * n) as f64).max(0.0).sqrt();
        (subspace > 0.0).then_some(cell.error - subspace)
    };
    let gaussian = || lines.iter().filter(|line| line.family == "gaussian");
    let mean = |line: &Line| {
        let all: Vec<f64> = line.cells.iter().filter_map(|cell| excess(cell)).collect();
        Point::of_mean(0.0, &all).map(|point| point.y)
    };
    let below: Vec<&str> = gaussian()
        .filter(|line| mean(line).is_some_and(|e| e < 0.0))
        .map(|line| line.name.as_str())
        .collect();
    let above = gaussian()
        .filter_map(|line| Some((mean(line)?, line.name.as_str())))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "A fixed linear subspace of p dimensions leaves √(1 − p/{}) of an update without structure. Nearer than that come {}; farthest above it stays {}, by {} on average.",
        n * n,
        list(below),
        above.1,
        digits(above.0)
    ))
}

/// Budgets that no size meets.
fn notes(records: Records) -> Vec<String> {
    let mut over = BTreeMap::<&str, BTreeSet<(usize, usize)>>::new();
    for record in records {
        for cell in record.outcome.iter().filter(|cell| cell.parameters > cell.budget) {
            over.entry(&record.parameters.adapter)
                .or_default()
                .insert((cell.budget, cell.parameters));
        }
    }
    over.into_iter()
        .map(|(name, pairs)| {
            let budgets: Vec<String> = pairs.iter().map(|(budget, _)| budget.to_string()).collect();
            let parameters = pairs.first().map_or(0, |(_, parameters)| *parameters);
            format!(
                "{name} has no size within {}: its smallest, {parameters} parameters, is used.",
                budgets.join(", ")
            )
        })
        .collect()
}
