use burn::tensor::Tensor;
use higanbana_core::{Condition, PathChoice, Training, slot};

use super::{
    Law, Subject,
    layer::Model,
    measure::{deviation, exceeds, values},
};

/// $W = W_0 + g \operatorname{diag}(o) T_R(\mu)$ with the same $g$, $o$ and $R$ on every path of a
/// step; weights $R$ of 1 change nothing, and nor do the options outside of training.
pub(super) const LAW: Law = Law {
    name: "dropout",
    statement: "a step leaves out the same on both paths, and nothing is left out outside of training",
    check,
};

/// Seeds of steps: some draw the whole adapter, some a part, some none of it.
const STEPS: std::ops::Range<u64> = 0..4;

fn check(subject: &Subject) -> Result<(), String> {
    let mut ones = |r| Tensor::ones([r], (&subject.w0.device(), subject.w0.dtype()));
    if let Some(same) = subject.trained.weigh_ranks(&mut ones) {
        let [found, expected] = [&same, &subject.trained].map(|a| values(&subject.update(a)));
        let error = deviation(&found, &expected);
        if exceeds(error, subject.tolerance()) {
            return Err(format!("ranks of weight 1 change the update by {error:e}"));
        }
    }
    let expected = Model::adapted(subject).act(subject);
    let in_step = subject.operations.in_step;
    if in_step(subject, None).act(subject) != expected {
        return Err("something is left out outside of training".into());
    }
    for step in STEPS {
        let layer = in_step(subject, Some(step));
        let expected = layer.act(subject);
        for path in [PathChoice::Definition, PathChoice::Shortcut] {
            let Some(output) = (subject.operations.act)(&layer, subject, path) else { continue };
            let error = deviation(&output, &expected);
            if exceeds(error, subject.tolerance()) {
                return Err(format!("step {step} on path {path:?} departs by {error:e}"));
            }
        }
    }
    Ok(())
}

/// The layer in a step of training with every option that drops something.
pub(super) fn in_step(subject: &Subject, step: Option<u64>) -> Model {
    let training = Training {
        dropout: 0.3,
        rank_dropout: 0.3,
        rank_dropout_scale: true,
        module_dropout: 0.2,
        max_norm: None,
    };
    let model = slot::edit(Model::adapted(subject), |slot| {
        slot.members.iter_mut().for_each(|member| member.training = training);
    });
    slot::condition(model, &Condition { step, ..subject.trial.condition.clone() })
}
