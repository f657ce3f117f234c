//! Whether a battery meets everything that an algorithm names.

use burn::tensor::{DType, Device};
use higanbana_core::{AdapterError, Kind, Registry, SiteKind, Variant};

use super::{
    Law, Subject, Trial, Violation,
    measure::{norm, values},
};

/// What counts as met: an adapter that acts.
pub(super) const LAW: Law = Law {
    name: "coverage",
    statement: "every kind of parameter and every set of options that is named is acted on",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    match norm(&values(&subject.update(&subject.trained))) {
        0.0 => Err("trained values do not move the weight".into()),
        moved if moved.is_finite() => Ok(()),
        moved => Err(format!("trained values move the weight by {moved}")),
    }
}

/// Whether every algorithm acts on at least one of the standard layers for each kind of parameter
/// that it names, and with each set of options; where not, with a reason why its constructor refuses.
pub fn coverage(registry: &Registry, device: &Device, dtype: DType) -> Vec<Violation> {
    let trials = Trial::standard();
    let missing = |kind| {
        let attempts = trials.iter().flat_map(|trial| {
            let attempt = move |variant| {
                let subject = Subject::new(registry, kind, variant, trial, (device, dtype));
                (trial.site.kind, variant, subject.map(|subject| LAW.check(&subject).is_ok()))
            };
            Subject::sets(kind, trial).map(attempt)
        });
        missing(kind, &attempts.collect::<Vec<_>>())
    };
    registry.iter().flat_map(missing).collect()
}

/// What came of an adapter for a kind of parameter with a set of options: whether it acts.
type Attempt = (SiteKind, Option<&'static Variant>, Result<bool, AdapterError>);

fn missing(kind: &Kind, attempts: &[Attempt]) -> Vec<Violation> {
    let unless = |fits: &dyn Fn(&Attempt) -> bool, reason: String| {
        let mut outcomes = attempts.iter().filter(|attempt| fits(attempt)).map(|(_, _, it)| it);
        if outcomes.clone().any(|outcome| matches!(outcome, Ok(true))) {
            return None;
        }
        let refusal = outcomes.find_map(|outcome| outcome.as_ref().err());
        let refusal = refusal.map(|error| format!(": {error}")).unwrap_or_default();
        Some(LAW.violation(kind.name().into(), reason + &refusal))
    };
    let sites = kind.sites().iter().filter_map(|site| {
        let reason = format!("it is said to adapt a {}, but acts on none", site.name());
        unless(&|(at, ..)| at == site, reason)
    });
    let sets = kind.variants().iter().filter_map(|set| {
        let reason = format!("it acts on no layer with the options `{}`", set.name);
        unless(&|(_, with, _)| with.is_some_and(|with| with.name == set.name), reason)
    });
    sites.chain(sets).collect()
}
