//! Signals end the process; what is half-written goes first.

/// Removes half-written outputs when the process is told to end. A write beyond the limit on the size
/// of files is an error like that of a full disk.
#[cfg(unix)]
pub fn clean_up() {
    use std::{process::exit, sync::Arc, thread};

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
        flag,
        iterator::Signals,
    };

    // Without handlers everything else still works.
    let _ = flag::register(SIGXFSZ, Arc::default());
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) else { return };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            higanbana_io::writer::abandon();
            eprintln!("error: interrupted; nothing was written");
            exit(128 + signal);
        }
    });
}

/// Elsewhere there are none.
#[cfg(not(unix))]
pub fn clean_up() {}
