//! The engine of one machine: child processes, so that one that dies does not take the others along.

use std::process::{Command, Stdio};

use anyhow::Result;
use higanbana_lab::parallel;

use super::engine::Submission;
use crate::output;

/// Runs every task; whether one failed.
pub fn run(submission: &Submission) -> Result<bool> {
    let tasks: Vec<usize> = submission.tasks.iter().copied().collect();
    let jobs = submission.jobs.unwrap_or_else(parallel::processors);
    let bar = output::progress(tasks.len());
    let endings = parallel::each(&tasks, jobs, |task| {
        let mut command = Command::new(&submission.program);
        command.args(["run", "--plan"]).arg(&submission.plan).args(&submission.work);
        command.args(["--index", &task.to_string()]);
        let ended = command.stdin(Stdio::null()).output();
        bar.inc(1);
        ended
    });
    bar.finish_and_clear();
    let mut failed = false;
    for (task, ended) in tasks.iter().zip(endings) {
        let ended = ended?;
        if !ended.status.success() {
            failed = true;
            let said = String::from_utf8_lossy(&ended.stderr);
            let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
            output::say(format!("{task}: {}: {last}", ended.status));
        }
    }
    Ok(failed)
}
