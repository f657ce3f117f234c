//! Many questions, on as many threads as there are processors.

use burn::tensor::Device;
use higanbana_core::Registry;

use super::{Answer, GammaError, Question};
use crate::parallel;

/// Answers every question, in their order; `done` hears of each as it is answered, out of order.
pub fn run(
    questions: &[Question],
    registry: &Registry,
    device: &Device,
    done: impl Fn(&Question) + Sync,
) -> Vec<Result<Answer, GammaError>> {
    parallel::each(questions, parallel::processors(), |question| {
        let answer = question.answer(registry, device);
        done(question);
        answer
    })
}
