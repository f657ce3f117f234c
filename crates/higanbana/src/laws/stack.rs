use burn::tensor::Tensor;
use higanbana_core::{DynAdapter, Member, Slot, trained};

use super::{
    Law, Subject,
    measure::{deviation, exceeds, values},
};

/// $W = W_0 + \sum_i (W_i(\mu_i) - W_0)$, each from the untouched base, in any order.
pub(super) const LAW: Law = Law {
    name: "stack",
    statement: "adapters on one weight add, and their order does not matter",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let other = trained::map(subject.trained.clone(), |_, x| x.iter_mut().for_each(|x| *x *= 0.8));
    let first = member(&subject.trained, subject.trial.strength);
    let second = member(&other, -0.4);
    let update =
        |member: &Member| member.adapter.update_at(subject.site(), &subject.w0, member.strength);
    let expected = values(&(subject.w0.clone() + update(&first) + update(&second)));
    for members in [[first.clone(), second.clone()], [second, first]] {
        let error = deviation(&values(&stacked(subject, members)), &expected);
        if exceeds(error, subject.tolerance()) {
            return Err(format!("two adapters depart from the sum of their updates by {error:e}"));
        }
    }
    Ok(())
}

fn member(adapter: &DynAdapter, strength: f64) -> Member {
    Member::new("stack", strength, adapter.clone())
}

fn stacked(subject: &Subject, members: [Member; 2]) -> Tensor<2> {
    let slot = Slot { members: members.into(), ..Slot::new(subject.site().clone()) };
    (subject.operations.weight)(&slot, subject.w0.clone())
}
