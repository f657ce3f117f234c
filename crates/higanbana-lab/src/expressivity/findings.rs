//! What the numbers of the chapter say.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    targets::{FAMILIES, Family},
    view::{Line, Records, lines, middle},
};
use crate::{
    findings::{Front, Parts, Sample, Side, Value},
    study::{digits, list},
};

/// An error that counts as none, and a difference of two that counts as none.
const EXACT: f64 = 1e-6;

/// Below a closed form by more than this, a descent would refute it.
const BELOW: f64 = 1e-9;

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
    let within = |line: &&Line| {
        line.family == family.name && line.at(budget).all(|cell| cell.parameters <= budget)
    };
    let sample = |line: &Line| -> Sample {
        line.at(budget)
            .map(|cell| (cell.seed, Value { value: cell.error, at_most: cell.cut_off }))
            .collect()
    };
    let entries: Vec<(&str, Sample)> =
        lines.iter().filter(within).map(|line| (line.name.as_str(), sample(line))).collect();
    let (near, far) =
        (Front::of(&entries, Side::Least, EXACT)?, Front::of(&entries, Side::Most, EXACT)?);
    let met: Vec<&str> = entries
        .iter()
        .filter(|(_, sample)| sample.seeds() > 0 && sample.values().all(|error| error < EXACT))
        .map(|(name, _)| *name)
        .collect();
    let best = match met[..] {
        [] => format!("met best by {}{}", near.names(), near.doubt("may be nearer")),
        _ => format!("met by {}", list(met)),
    };
    Some(format!(
        "Within {budget} parameters, a target {} ({}) is {best}. Farthest stays {}{}.",
        family.title,
        family.name,
        far.names(),
        far.doubt("may stay farther")
    ))
}

/// Whether the descent finds what is known.
fn check(records: Records) -> Option<String> {
    let gaps: Vec<(f64, &str)> = records
        .iter()
        .flat_map(|record| record.outcome.iter().map(move |cell| (record, cell)))
        .filter_map(|(record, cell)| Some((cell.gap?, record.parameters.adapter.as_str())))
        .collect();
    let largest = gaps.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let near = gaps.iter().filter(|(gap, _)| gap.abs() < 1e-4).count();
    let below = match gaps.iter().filter(|(gap, _)| *gap < -BELOW).count() {
        0 => "none ends".into(),
        count => format!("{count} end"),
    };
    Some(format!(
        "Where a closed form is known, the descent ends within 1e-4 of it in {near} of {} cases, at most {} above it ({}); {below} more \
         than {BELOW:e} below it.",
        gaps.len(),
        digits(largest.0.max(0.0)),
        largest.1
    ))
}

/// Against what any fixed linear subspace of the same dimension meets of an update without structure.
fn linear(lines: &[Line], records: Records) -> Option<String> {
    let n = records.first()?.parameters.size;
    let gaussian = lines.iter().filter(|line| line.family == "gaussian");
    let (own, others): (Vec<_>, Vec<_>) =
        gaussian.partition(|line| line.cells.iter().all(|cell| cell.linear));
    let entries = |lines: Vec<&'_ Line<'_>>| -> Vec<(String, Sample)> {
        lines
            .into_iter()
            .map(|line| (line.name.clone(), excess(line, n * n)))
            .filter(|(_, it)| it.seeds() > 0)
            .collect()
    };
    let (own, others) = (entries(own), entries(others));
    let named = |all: &[(String, Sample)]| -> Vec<String> {
        all.iter().map(|(name, sample)| format!("{name} ({})", sample.words())).collect()
    };
    let subspaces = named(&own);
    let borrowed: Vec<(&str, Sample)> =
        others.iter().map(|(name, sample)| (name.as_str(), sample.clone())).collect();
    let control = match &subspaces[..] {
        [] => String::new(),
        names => format!(
            " Fixed subspaces themselves, and so no nearer nor farther but by chance: {}.",
            list(names.iter().map(String::as_str))
        ),
    };
    Some(format!(
        "In the mean of squares a fixed linear subspace of p dimensions leaves √(1 − p/{}) of an update without structure. In the mean over its \
         sizes, the error {}.{control}",
        n * n,
        Parts::against(0.0, &borrowed, 0.0).words([
            "is less than that",
            "is greater",
            "is the same"
        ])
    ))
}

/// The mean over all sizes of the error above that of a fixed subspace, by the seed of the target.
fn excess(line: &Line, entries: usize) -> Sample {
    let mut seen = BTreeSet::new();
    let mut by_seed = BTreeMap::<u64, (Vec<f64>, bool)>::new();
    for cell in &line.cells {
        let left = 1.0 - cell.parameters as f64 / entries as f64;
        // A size that serves several budgets is one size, and everything is within reach of the whole space.
        if left > 0.0 && seen.insert((cell.seed, cell.parameters)) {
            let (values, at_most) = by_seed.entry(cell.seed).or_default();
            values.push(cell.error - left.sqrt());
            *at_most |= cell.cut_off;
        }
    }
    let mean = |(seed, (values, at_most)): (u64, (Vec<f64>, bool))| {
        (seed, Value { value: values.iter().sum::<f64>() / values.len() as f64, at_most })
    };
    by_seed.into_iter().map(mean).collect()
}
