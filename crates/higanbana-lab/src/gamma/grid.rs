//! Many questions, on as many threads as there are processors.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use burn::tensor::Device;
use higanbana_core::Registry;

use super::{Answer, GammaError, Question};

/// Answers every question, in their order; `done` hears of each as it is answered, out of order.
pub fn run(
    questions: &[Question],
    registry: &Registry,
    device: &Device,
    done: impl Fn(&Question) + Sync,
) -> Vec<Result<Answer, GammaError>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    let work = || {
        while let Some((index, question)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            questions.get(index).map(|question| (index, question))
        } {
            let answer = question.answer(registry, device);
            done(question);
            answers.lock().expect("nothing panics while it holds this").push((index, answer));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut answers = answers.into_inner().expect("all threads have ended");
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
