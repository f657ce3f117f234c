//! What the numbers of the chapter say.

use std::collections::BTreeMap;

use super::{
    Size, Small,
    view::{Records, named, sizes, small},
};
use crate::{
    findings::largest,
    study::{digits, list},
};

/// A change of a singular value that is rounding.
const KEPT: f64 = 1e-10;

pub(super) fn findings(records: Records) -> Vec<String> {
    let all = || sizes(records);
    let (count, attained) =
        (all().count(), all().filter(|(.., size)| size.random.rank == size.bound).count());
    let above: Vec<_> = all().filter(|(.., size)| size.random.rank > size.bound).collect();
    let (full, proper): (Vec<_>, Vec<_>) =
        all().partition(|(_, shape, size)| size.bound == full_rank(shape));
    let told = proper.iter().filter(|(.., size)| size.random.rank == size.bound).count();
    let mut findings = vec![format!(
        "Random factors, one draw for each case, attain the bound in {attained} of {count} cases and exceed it in {}. In {} of \
         these the bound is the full rank, which no matrix exceeds; of the other {}, where it says more, {told} attain it.",
        above.len(),
        full.len(),
        proper.len()
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
    findings.extend(kept(records));
    findings.extend(fitted(records));
    findings
}

/// The rank that no matrix of this shape exceeds.
fn full_rank(shape: &[usize]) -> usize {
    shape[0].min(shape[1..].iter().product())
}

/// Whose random updates keep the singular values; one that updates nothing keeps them too, and is no evidence.
fn kept(records: Records) -> Option<String> {
    let mut shifts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, _, size, small) in small(records) {
        if size.random.rank > 0 {
            shifts.entry(name).or_default().push(small.shift);
        }
    }
    shifts.retain(|_, shifts| shifts.iter().all(|shift| *shift < KEPT));
    let count = shifts.values().map(Vec::len).sum::<usize>();
    (count > 0).then(|| {
        format!(
            "Under {}, the singular values of the base weight stay within {KEPT:e} of the largest in all {count} random updates that \
             are not zero.",
            list(shifts.into_keys())
        )
    })
}

/// Full rank for the fewest parameters on the larger layers.
fn cheapest(records: Records) -> Option<String> {
    let large = sizes(records).filter(|(_, shape, size)| {
        // On the narrowest layers everything is full of rank.
        let full = full_rank(shape);
        size.small.is_none() && size.random.rank == full && full > 64
    });
    let dense = |shape: &[usize]| shape.iter().product::<usize>();
    let share = |shape: &[usize], size: &Size| size.parameters as f64 / dense(shape) as f64;
    let cheapest = largest(large, |(_, shape, size)| -share(shape, size));
    let said = cheapest.iter().map(|(name, shape, size)| {
        let (parameters, dense) = (size.parameters, dense(shape));
        format!(
            "{name} on {}, rank {} with {parameters} of {dense} parameters",
            named(shape),
            size.random.rank
        )
    });
    let said: Vec<String> = said.collect();
    let (_, shape, size) = cheapest.first()?;
    Some(format!(
        "Of all that was tried, full rank costs the smallest share of a dense update, {} %, in {}.",
        digits(100.0 * share(shape, size)),
        list(said.iter().map(String::as_str))
    ))
}

/// Who spends parameters on nothing.
fn gauge(records: Records) -> Option<String> {
    let share = |size: &Size, small: &Small| small.gauge as f64 / size.parameters as f64;
    let moving = small(records).filter(|(.., it)| it.degrees > 0);
    let most = largest(moving, |(_, _, size, it)| share(size, it));
    let (.., size, it) = most.first()?;
    let names: Vec<&str> = most.iter().map(|(name, ..)| *name).collect();
    let mut free: Vec<&str> = small(records).map(|(name, ..)| name).collect();
    free.retain(|free| {
        small(records).filter(|(name, ..)| name == free).all(|(.., it)| it.gauge == 0)
    });
    Some(format!(
        "On the small layers every parameter is a degree of freedom of {}. The largest share of directions that move nothing is {} % of \
         the parameters, of {}.",
        list(distinct(free)),
        digits(100.0 * share(size, it)),
        list(distinct(names))
    ))
}

/// Each name once, in the order of their first.
fn distinct(names: Vec<&str>) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// What fitting does to the effective rank, where the fit came to its end.
fn fitted(records: Records) -> Option<String> {
    let all = || small(records).filter(|(_, _, size, _)| size.random.effective_rank > 0.0);
    let ratios: Vec<(f64, &str)> = all()
        .filter(|(.., small)| !small.cut_off)
        .map(|(name, _, size, small)| {
            (small.fitted.effective_rank / size.random.effective_rank, name)
        })
        .collect();
    let most = ratios.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let least = ratios.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "Over the {} fits to a random update that were not cut off, of {}, fitting changes the effective rank of random factors by \
         factors from {} ({}) to {} ({}).",
        ratios.len(),
        all().count(),
        digits(least.0),
        least.1,
        digits(most.0),
        most.1
    ))
}
