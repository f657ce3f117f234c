use higanbana_core::{DynAdapter, trained};

use super::{
    Law, Subject,
    measure::{deviation, exceeds, values},
};

/// The update of [`Adapter::sum`](higanbana_core::Adapter::sum) is $\sum_i \mu_i \Delta W_i$, and
/// [`Adapter::with_alpha`](higanbana_core::Adapter::with_alpha) changes the file's alpha and no update.
pub(super) const LAW: Law = Law {
    name: "sum",
    statement: "a sum acts as its terms do together, and another alpha is the same update",
    check,
};

/// Strengths of the terms, and an alpha; no ratio of them is a power of two.
const STRENGTHS: [f64; 2] = [0.7, -1.3];
const ALPHA: f64 = 0.3;

fn check(subject: &Subject) -> Result<(), String> {
    let (first, site) = (&subject.trained, subject.site());
    let second = trained::map(first.clone(), |_, values| values.reverse());
    let update = |adapter: &DynAdapter, strength| adapter.update_at(site, &subject.w0, strength);
    let departs = |adapter: &DynAdapter, from| {
        let error = deviation(&values(&update(adapter, 1.0)), &values(&from));
        exceeds(error, subject.tolerance()).then_some(error)
    };
    if let Some(sum) = first.sum(site, STRENGTHS[0], &[(STRENGTHS[1], &second)]) {
        let terms = update(first, STRENGTHS[0]) + update(&second, STRENGTHS[1]);
        if let Some(error) = departs(&sum, terms) {
            return Err(format!("the sum departs from the sum of the updates by {error:e}"));
        }
    }
    if let Some(other) = first.with_alpha(ALPHA) {
        if let Some(error) = departs(&other, update(first, 1.0)) {
            return Err(format!("at another alpha the update is another by {error:e}"));
        }
        let alpha = other.write(site).get("alpha").and_then(|alpha| alpha.iter::<f64>().next());
        if alpha != Some(f64::from(ALPHA as f32)) {
            return Err(format!("the file of alpha {ALPHA} has {alpha:?}"));
        }
    }
    Ok(())
}
