//! Signals end the process; what is half-written goes first. Work that can be gone on with is first brought
//! to a state that is kept.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool, mpsc},
    thread,
    time::Duration,
};

use crate::output;

/// Set by the first signal, where there is work to be brought to an end.
static FINISH: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A flag that the first signal sets instead of ending the process; the second one ends it.
pub fn finish_first() -> Arc<AtomicBool> {
    FINISH.get_or_init(Arc::default).clone()
}

/// Removes half-written outputs when the process is told to end. A write beyond the limit on the size
/// of files is an error like that of a full disk.
#[cfg(unix)]
pub fn clean_up() {
    use std::{process::exit, sync::atomic::Ordering};

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
        flag,
        iterator::Signals,
    };

    // Without handlers everything else still works.
    let _ = flag::register(SIGXFSZ, Arc::default());
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else { return };
    let _ = thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            if FINISH.get().is_some_and(|finish| !finish.swap(true, Ordering::Relaxed)) {
                last_words("stopping after this step; a second signal stops at once");
                continue;
            }
            higanbana_io::writer::abandon();
            last_words("error: interrupted; nothing half-written is left");
            exit(128 + signal);
        }
    });
}

/// Says something, unless that takes long: another thread may hold standard error and wait for a reader that
/// never comes.
#[cfg(unix)]
fn last_words(text: &'static str) {
    let (said, waiting) = mpsc::channel();
    let _ = thread::Builder::new().spawn(move || {
        output::say(text);
        let _ = said.send(());
    });
    let _ = waiting.recv_timeout(Duration::from_millis(200));
}

/// Elsewhere there are none.
#[cfg(not(unix))]
pub fn clean_up() {}
