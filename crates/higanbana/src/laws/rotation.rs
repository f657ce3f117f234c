use higanbana_core::spectrum;

use super::{
    Law, Subject,
    measure::{deviation, exceeds, norm, values},
};

/// Law 02. Claimed: $\sigma_i(W(1)) = \sigma_i(W_0)$ for every $i$. Not claimed: they move in
/// proportion to the update.
pub(super) const LAW: Law = Law {
    name: "rotation",
    statement: "what is said to keep every singular value of the weight does, and nothing else",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let update = subject.trained.update_at(subject.site(), &subject.w0, 1.0);
    let singular_values = |w| spectrum::singular_values(w).map_err(|error| error.to_string());
    let before = singular_values(&subject.w0)?;
    let error = deviation(&singular_values(&(subject.w0.clone() + update.clone()))?, &before);
    let moved = norm(&values(&update)) / norm(&values(&subject.w0));
    if subject.trained.keeps_singular_values() {
        if exceeds(error, subject.tolerance()) {
            return Err(format!("the singular values of the weight move by {error:e}"));
        }
    } else if error < subject.epsilon().sqrt() * moved.min(moved.powi(4)) {
        // What keeps them up to the third power of a small update, as a series cut off does, departs by this.
        return Err("it is not said to keep every singular value, but does".into());
    }
    Ok(())
}
