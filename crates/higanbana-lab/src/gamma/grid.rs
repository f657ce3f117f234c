//! The whole table, on as many threads as there are processors.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use burn::tensor::Device;
use higanbana_core::Registry;

use super::{Answer, GammaError, Question};

/// A cell to be filled.
pub type Task<'a> = Question<'a>;

/// Cells in an order.
#[derive(Debug)]
pub struct Grid<'a> {
    /// The cells.
    pub tasks: Vec<Task<'a>>,
}

impl Grid<'_> {
    /// Fills every cell; `done` hears of each as it is, out of order. The result is in order.
    pub fn run(
        &self,
        registry: &Registry,
        device: &Device,
        done: impl Fn(usize, &Result<Answer, GammaError>) + Sync,
    ) -> Vec<Result<Answer, GammaError>> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(self.tasks.len()) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(task) = self.tasks.get(index) else { break };
                        let answer = task.answer(registry, device);
                        done(index, &answer);
                        answers.lock().expect("no thread panics here").push((index, answer));
                    }
                });
            }
        });
        let mut answers = answers.into_inner().expect("all threads have ended");
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}
