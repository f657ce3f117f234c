//! Whether a battery meets everything that an algorithm names.

use burn::tensor::{DType, Device};
use higanbana_core::{Kind, Registry};

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
    if norm(&values(&subject.update(&subject.trained))) > 0.0 {
        return Ok(());
    }
    Err("trained values do not move the weight".into())
}

/// Whether every algorithm acts on at least one of the standard layers for each kind of parameter
/// that it names, and with each set of options.
pub fn coverage(registry: &Registry, device: &Device, dtype: DType) -> Vec<Violation> {
    let trials = Trial::standard();
    let acting: Vec<Subject> = trials
        .iter()
        .flat_map(|trial| Subject::all(registry, trial, device, dtype).filter_map(Result::ok))
        .filter(|subject| LAW.check(subject).is_ok())
        .collect();
    registry.iter().flat_map(|kind| missing(kind, &acting)).collect()
}

fn missing(kind: &Kind, acting: &[Subject]) -> Vec<Violation> {
    let mine = || acting.iter().filter(|subject| subject.kind.name() == kind.name());
    let sites = kind.sites().iter().filter(|site| !mine().any(|s| s.site().kind == **site));
    let names = kind.variants().iter().map(|variant| variant.name);
    let names = names.filter(|name| !mine().any(|s| s.variant.is_some_and(|v| v.name == *name)));
    sites
        .map(|site| format!("it is said to adapt a {}, but acts on none", site.name()))
        .chain(names.map(|name| format!("it acts on no layer with the options `{name}`")))
        .map(|reason| LAW.violation(kind.name().into(), reason))
        .collect()
}
