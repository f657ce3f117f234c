//! How far a long command has come: a bar on a terminal; elsewhere a line on standard error now and then.

use std::{
    ops::Deref,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::terminal::{plain, say};

/// The progress of some work, told until it is finished or dropped.
pub struct Progress {
    bar: ProgressBar,
    /// Dropped, it ends the thread that tells.
    _end: Option<Sender<()>>,
}

/// The progress of `length` steps; 0 where their number is not known yet.
pub fn progress(length: usize) -> Progress {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
        .expect("the template is valid");
    let bar = ProgressBar::new(length as u64).with_style(style);
    let end = bar.is_hidden().then(|| tell(bar.clone(), pause, say));
    Progress { bar, _end: end }
}

/// Does work that tells each of its steps and how many there are.
///
/// # Errors
/// Those of the work.
pub fn steps<T>(work: impl FnOnce(&dyn Fn(&str, usize)) -> Result<T>) -> Result<T> {
    let bar = progress(0);
    let done = work(&|step, steps| {
        bar.set_length(steps as u64);
        bar.set_message(step);
        bar.inc(1);
    });
    bar.finish_and_clear();
    done
}

impl Progress {
    /// Says what is worked on; names come from files.
    pub fn set_message(&self, message: impl AsRef<str>) {
        self.bar.set_message(plain(message.as_ref()));
    }
}

impl Deref for Progress {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.bar
    }
}

/// Tells the state of a bar that nobody sees, after every pause, until the sender is dropped. A thread of
/// its own does, because a single step may take long.
fn tell(
    bar: ProgressBar,
    pause: fn(Duration) -> Duration,
    say: impl Fn(String) + Send + 'static,
) -> Sender<()> {
    let (end, ended) = mpsc::channel();
    let begin = Instant::now();
    // Without a thread nothing is told.
    let _ = thread::Builder::new().spawn(move || {
        while ended.recv_timeout(pause(begin.elapsed())) == Err(RecvTimeoutError::Timeout)
            && !bar.is_finished()
        {
            say(state(&bar));
        }
    });
    end
}

/// Seldom enough for the log of a training of days.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(Duration::from_secs(30), Duration::from_secs(600))
}

fn state(bar: &ProgressBar) -> String {
    let done = bar.length().filter(|length| *length > 0);
    let done = done.map(|length| format!("{} of {length}", bar.position()));
    let message = Some(bar.message()).filter(|message| !message.is_empty());
    let known: Vec<String> = done.into_iter().chain(message).collect();
    match known.is_empty() {
        true => "progress: at work".into(),
        false => format!("progress: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_told_until_it_ends() {
        let (said, heard) = mpsc::channel();
        let bar = ProgressBar::hidden();
        let end = tell(
            bar.clone(),
            |_| Duration::from_millis(1),
            move |line| {
                let _ = said.send(line);
            },
        );
        assert_eq!(heard.recv().unwrap(), "progress: at work");
        bar.set_length(5);
        bar.set_position(3);
        bar.set_message("loss 0.5");
        let of_work = "progress: 3 of 5, loss 0.5";
        assert!(heard.iter().take(1000).any(|line| line == of_work));
        drop(end);
        // The thread ends, and with it the channel.
        assert!(heard.iter().all(|line| line == of_work));
    }

    #[test]
    fn pauses_grow_with_the_work() {
        let after = |seconds| pause(Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 60, 600, 3600, 86400].map(after), [30, 30, 60, 360, 600]);
    }
}
