//! What of an adapter file has no part in a result.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;
use higanbana_io::Leftover;

use super::say;

/// Says on standard error what a user should know of a file, how much of it has no use, and lists the
/// first of that.
pub fn leftovers(file: &Path, notes: &[String], leftovers: &[Leftover]) {
    const SHOWN: usize = 10;
    notes.iter().for_each(|note| say(format!("note: {note}")));
    if leftovers.is_empty() {
        return;
    }
    let is_whole = leftovers.iter().all(|leftover| leftover.harmless);
    let level = if is_whole { "note" } else { "warning" };
    let (file, count) = (file.display(), leftovers.len());
    say(format!("{level}: {file}: no use for {count} of its modules and tensors"));
    // What is left over for one reason is one line.
    let mut alike = Vec::<(&Leftover, usize)>::new();
    for leftover in leftovers {
        match alike.iter_mut().find(|(first, _)| first.reason == leftover.reason) {
            Some((_, more)) => *more += 1,
            None => alike.push((leftover, 0)),
        }
    }
    for (Leftover { name, reason, .. }, more) in alike.iter().take(SHOWN) {
        let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
        say(format!("  {name}{more}: {reason}"));
    }
    let hidden = alike.iter().skip(SHOWN).map(|(_, more)| 1 + more).sum::<usize>();
    if hidden > 0 {
        say(format!("  ... and {hidden} more"));
    }
}

/// Whether a result may lack something that was asked for.
#[derive(Args)]
pub struct Completeness {
    /// Go on without the modules and tensors of an adapter that have no place in the result
    #[arg(long)]
    allow_incomplete: bool,
}

impl Completeness {
    /// Says what a user should know of a file and what of it has no use.
    ///
    /// # Errors
    /// When something that the result needs to be whole has none, and that is not allowed.
    pub fn check(&self, file: &Path, notes: &[String], all: &[Leftover]) -> Result<()> {
        leftovers(file, notes, all);
        let missing = all.iter().filter(|leftover| !leftover.harmless).count();
        if missing > 0 && !self.allow_incomplete {
            bail!(
                "{}: no use for {missing} of its modules and tensors; pass --allow-incomplete to go on \
                 without them",
                file.display()
            );
        }
        Ok(())
    }
}
