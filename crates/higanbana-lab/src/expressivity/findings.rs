//! What the numbers of the chapter say.

use super::{
    Cell,
    targets::{FAMILIES, Family},
    view::{Line, Records, lines, middle},
};
use crate::{
    plot::Point,
    study::{digits, list},
};

/// An error that counts as none.
const EXACT: f64 = 1e-6;

pub(super) fn findings(records: Records) -> Vec<String> {
    let (lines, budget) = (lines(records), middle(records));
    let mut findings: Vec<String> =
        FAMILIES.iter().filter_map(|family| nearest(family, &lines, budget)).collect();
    findings.extend(check(records));
    findings.extend(linear(&lines, records));
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
            "{start} met best by {}, with an error of {}, and worst by {}, with {}.",
            best.1,
            digits(best.0),
            worst.1,
            digits(worst.0)
        ),
        _ => format!(
            "{start} met by {}; worst by {}, with an error of {}.",
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
    let excess = |cell: &Cell| {
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
