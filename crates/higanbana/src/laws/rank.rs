use higanbana_core::spectrum;

use super::{Law, Subject};

/// Law 02: $\operatorname{rank}(W(\mu) - W_0) \le$ `rank_bound` $\le \min(out, in\cdot K)$ at
/// random values.
pub(super) const LAW: Law =
    Law { name: "rank", statement: "the update has no larger rank than the bound says", check };

fn check(subject: &Subject) -> Result<(), String> {
    let site = subject.site();
    let bound = subject.trained.rank_bound(site);
    if bound > site.full_rank() {
        return Err(format!("the bound {bound} exceeds what the weight can have"));
    }
    let values = spectrum::singular_values(&subject.update(&subject.trained))
        .map_err(|error| error.to_string())?;
    let rank = spectrum::numerical_rank(&values, site.out(), site.cols(), 32.0 * subject.epsilon());
    if rank > bound {
        return Err(format!("rank {rank} exceeds the bound {bound}, singular values {values:?}"));
    }
    Ok(())
}
