use higanbana_core::{Member, Slot};

use super::{
    Law, Subject,
    measure::{difference, exceeds, flat, norm, same_bits, values},
};

/// $\theta = \theta_0 \Rightarrow W(\mu) = W_0$ for every $\mu$, bit for bit; on the shortcut
/// $y = y_0$ to rounding.
pub(super) const LAW: Law =
    Law { name: "identity", statement: "a new adapter changes no bit of the weight", check };

fn check(subject: &Subject) -> Result<(), String> {
    for strength in [1.0, subject.trial.strength] {
        let adapter = subject.fresh.clone();
        let slot = Slot {
            members: vec![Member::new("new", strength, adapter)],
            ..Slot::new(subject.site().clone())
        };
        if !same_bits(&(subject.operations.weight)(&slot, subject.w0.clone()), &subject.w0) {
            let update = values(&subject.fresh.update_at(subject.site(), &subject.w0, strength));
            let most = update.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            return Err(format!("the update of a new adapter has an entry of {most:e}"));
        }
    }
    features(subject)
}

fn features(subject: &Subject) -> Result<(), String> {
    let Some(op) = subject.trial.op() else { return Ok(()) };
    let x = subject.features(&op);
    let call = subject.call(&subject.w0, &x, &op);
    let y0 = call.apply(subject.w0.clone());
    let added = subject.fresh.added(&call, &y0).map(|added| y0.clone() + added);
    let y0 = flat(&y0);
    for (path, y) in [("added", added), ("forward", subject.fresh.forward(&call))] {
        let Some(y) = y else { continue };
        let moved = difference(&values(&flat(&y)), &values(&y0));
        let size = norm(&values(&y0));
        if exceeds(moved, subject.tolerance() * size) {
            return Err(format!(
                "`{path}` of a new adapter moves the output by {:e}",
                moved / size
            ));
        }
    }
    Ok(())
}
