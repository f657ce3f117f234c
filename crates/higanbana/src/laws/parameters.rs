use higanbana_core::trained;

use super::{Law, Subject};

/// `parameter_count` is the number of values that train.
pub(super) const LAW: Law = Law {
    name: "parameters",
    statement: "the closed form of the parameter count is the number of values that train",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let sizes = trained::sizes(&subject.fresh);
    let actual: usize = sizes.iter().map(|(_, size)| size).sum();
    let stated = subject.fresh.parameter_count(subject.site());
    if actual != stated {
        return Err(format!("the formula says {stated}, but {actual} values train: {sizes:?}"));
    }
    Ok(())
}
