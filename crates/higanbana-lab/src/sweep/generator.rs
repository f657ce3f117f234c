//! Burn's generator of random numbers: one for the whole process.

use std::{
    cell::Cell,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Device;

static GENERATOR: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread has it: a run may perform others.
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// Does work that has the generator to itself, seeded; another thread that asks for that waits.
pub(super) fn alone<T>(device: &Device, seed: u64, work: impl FnOnce() -> T) -> T {
    let _ours = (!IS_OURS.get()).then(Ours::take);
    device.seed(seed);
    work()
}

/// That it is this thread's, until it is dropped.
struct Ours {
    _guard: MutexGuard<'static, ()>,
}

impl Ours {
    fn take() -> Self {
        // Whoever panicked has left nothing half done.
        let _guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        IS_OURS.set(true);
        Self { _guard }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        IS_OURS.set(false);
    }
}
