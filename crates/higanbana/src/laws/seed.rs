use super::{Law, Subject, measure::differs};

/// The initial value is a function of the seed, the site and the frozen weight.
pub(super) const LAW: Law = Law {
    name: "seed",
    statement: "an adapter built twice with one seed has the same bits",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let Subject { registry, kind, variant, trial, w0, .. } = subject;
    let again = Subject::new(registry, kind, *variant, trial, (&w0.device(), w0.dtype()))
        .map_err(|error| format!("built again, it is refused: {error}"))?;
    let first = subject.fresh.write(subject.site());
    let second = again.fresh.write(subject.site());
    match differs(&first, &second) {
        Some(key) => Err(format!("built again with the same seed, `{key}` is another")),
        None => Ok(()),
    }
}
