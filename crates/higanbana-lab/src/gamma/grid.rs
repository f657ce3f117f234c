//! Much work, on as many threads as there are processors.
//!
//! Burn's CPU backend splits its operations over the threads of `rayon`. Where every processor has a job of
//! its own, that would only be handing tiny pieces about: each worker is a pool of one thread.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use rayon::ThreadPoolBuilder;

/// Does every job; what comes of them is in their order.
pub fn run<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let worker = || {
        while let Some((index, job)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(index).map(|job| (index, job))
        } {
            let result = work(job);
            results.lock().expect("nothing panics while it holds this").push((index, result));
        }
    };
    let alone = || match ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(worker),
        // No more threads to be had.
        Err(_) => worker(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(alone))));
    let mut results = results.into_inner().expect("all threads have ended");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
