//! What the numbers of the chapter say.

use super::{Moment, view::Part};
use crate::{
    findings::{Front, Parts, Sample, Side},
    study::{digits, list},
};

/// Errors that differ by less are alike, and so are effective ranks.
const ALIKE: f64 = 1e-6;
const A_RANK: f64 = 0.01;

/// A number of every adapter's runs.
type Samples<'a> = Vec<(&'a str, Sample)>;

pub(super) fn findings(part: &Part) -> Vec<String> {
    let place = part.place;
    let of = |of: fn(&Moment, &Moment) -> f64| -> Samples {
        let ends = |run: &[Moment]| Some(of(run.first()?, run.last()?));
        part.lines.iter().map(|line| (line.name.as_str(), line.sample(ends))).collect()
    };
    let errors = of(|_, last| last.error);
    let ranks = of(|first, last| last.layer.effective_rank - first.layer.effective_rank);
    let intruders = of(|_, last| last.layer.intruders);
    let mut findings = Vec::new();
    if let (Some(near), Some(far)) =
        (Front::of(&errors, Side::Least, ALIKE), Front::of(&errors, Side::Most, ALIKE))
    {
        findings.push(format!(
            "{place}, the error at the last step is least for {}{}. It is largest for {}{}.",
            near.names(),
            near.doubt("may have less"),
            far.names(),
            far.doubt("may have more")
        ));
    }
    findings.push(format!(
        "{place}, from the first step to the last, the effective rank of updates {}.",
        Parts::against(0.0, &ranks, A_RANK).words(["falls", "rises", "stays within 0.01"])
    ));
    findings.push(format!(
        "{place}, intruder dimensions seen at the last step, in the mean of the seeds: {}.",
        seen(&intruders)
    ));
    findings
}

/// Which numbers are above zero under any seed, and whose never are: what was seen, and no more.
fn seen(samples: &Samples) -> String {
    let (with, without): (Vec<_>, Vec<_>) =
        samples.iter().partition(|(_, sample)| sample.values().any(|value| value > 0.0));
    let with: Vec<String> =
        with.iter().map(|(name, sample)| format!("{name} {}", digits(sample.mean()))).collect();
    let without: Vec<&str> = without.iter().map(|(name, _)| *name).collect();
    match without[..] {
        [] => list(with.iter().map(String::as_str)),
        _ => format!(
            "{}. Under no seed were there any for {}",
            list(with.iter().map(String::as_str)),
            list(without)
        ),
    }
}
