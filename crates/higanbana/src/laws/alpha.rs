use super::{
    Law, Subject, Trial,
    measure::{deviation, exceeds, values},
};

/// $\alpha = 0$ is $\alpha = r$: so the field's files have it, and so experiments ask for a scale of 1 at every
/// rank. An algorithm that divides 0 by the rank would be measured as one that does nothing.
pub(super) const LAW: Law = Law {
    name: "alpha",
    statement: "where there are options `rank` and `alpha`, an alpha of 0 stands for the rank",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let Subject { registry, kind, variant, trial, w0, .. } = subject;
    let options = trial.options(kind, *variant);
    let (Some(rank), true) = (options.get("rank"), options.contains_key("alpha")) else {
        return Ok(());
    };
    let rank = rank.as_integer().ok_or("the option `rank` is no whole number")?;
    let update = |alpha: f64| {
        let trial = Trial { alpha, ..(*trial).clone() };
        Subject::new(registry, kind, *variant, &trial, (&w0.device(), w0.dtype()))
            .map(|there| values(&there.update(&there.trained)))
            .map_err(|error| format!("with alpha {alpha} it is refused: {error}"))
    };
    let error = deviation(&update(0.0)?, &update(rank as f64)?);
    if exceeds(error, subject.tolerance()) {
        return Err(format!(
            "the update at alpha 0 is not that at alpha {rank}: it departs by {error:e}"
        ));
    }
    Ok(())
}
