//! Work on several threads, its results in order.
//!
//! Burn's CPU backend splits its operations over the threads of `rayon`. Where every processor has work of
//! its own, that would only be handing tiny pieces about: each thread is a pool of one.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rayon::ThreadPoolBuilder;

/// As many threads as there are processors.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` for every item on as many threads as there are processors; see [`each`].
pub fn all<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    each(items, processors(), work)
}

/// Does `work` for every item on `threads` threads, in order of beginning; gives the results in the order
/// of the items.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let labour = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            results.lock().expect("nothing panics while it holds this").push((index, result));
        }
    };
    let alone = || match ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(labour),
        // No more threads to be had.
        Err(_) => labour(),
    };
    std::thread::scope(|scope| {
        (0..threads.clamp(1, items.len().max(1))).for_each(|_| drop(scope.spawn(alone)));
    });
    let mut results = results.into_inner().expect("all threads have ended");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn results_are_in_order() {
        let items: Vec<u64> = (0..50).collect();
        for threads in [0, 1, 3, 100] {
            // Later items are done sooner.
            let slow = |i: &u64| {
                std::thread::sleep(std::time::Duration::from_micros(50 - i));
                i * i
            };
            assert_eq!(
                each(&items, threads, slow),
                items.iter().map(|i| i * i).collect::<Vec<_>>()
            );
        }
        assert_eq!(each(&[0u8; 0], 4, |i| *i), [0u8; 0]);
    }
}
