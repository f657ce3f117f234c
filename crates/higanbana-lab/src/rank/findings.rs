//! What the numbers of the chapter say.

use std::collections::BTreeMap;

use super::{
    Size, Small,
    view::{Records, named, sizes, small},
};
use crate::study::{digits, list};

/// A change of a singular value that is rounding.
const KEPT: f64 = 1e-10;

pub(super) fn findings(records: Records) -> Vec<String> {
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
