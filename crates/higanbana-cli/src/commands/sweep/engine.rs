//! The line that submits runs to an engine. Each engine counts in its own variable, or is given the index.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::ValueEnum;
use higanbana_lab::parallel::processors;

/// What runs the runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Processes of this machine
    Local,
    /// A job array of Slurm
    Slurm,
    /// A task array of HyperQueue
    Hq,
    /// GNU parallel
    Parallel,
}

/// What is to be submitted.
pub struct Submission<'a> {
    /// This program.
    pub program: OsString,
    /// The plan.
    pub plan: OsString,
    /// Options of `higanbana run`.
    pub work: Vec<OsString>,
    /// Indices; never none.
    pub tasks: BTreeSet<usize>,
    /// How many at a time.
    pub jobs: Option<usize>,
    /// Options of the engine's own.
    pub options: &'a [String],
}

impl Engine {
    /// The program that is called.
    pub fn program(self) -> &'static str {
        match self {
            Self::Local => "xargs",
            Self::Slurm => "sbatch",
            Self::Hq => "hq",
            Self::Parallel => "parallel",
        }
    }

    /// That the engine has the options.
    ///
    /// # Errors
    /// When it has not.
    pub fn check(self, submission: &Submission) -> Result<(), String> {
        match self {
            Self::Local if !submission.options.is_empty() => {
                Err("local has no options of its own behind `--`".into())
            }
            Self::Hq if submission.jobs.is_some() => {
                Err("hq limits by resources: give them behind `--`, not --jobs".into())
            }
            _ => Ok(()),
        }
    }

    /// The line for a shell.
    ///
    /// # Errors
    /// When a name is no text.
    pub fn line(self, submission: &Submission) -> Result<String, String> {
        let Submission { plan, jobs, options, .. } = submission;
        let engine = std::iter::once(self.program()).chain(options.iter().map(String::as_str));
        let engine = engine.map(quoted).collect::<Vec<_>>().join(" ");
        let (command, array) = (submission.command()?.join(" "), submission.array());
        let (list, at_a_time) = (submission.list(), jobs.unwrap_or_else(processors));
        Ok(match self {
            Self::Local => format!("{list} | {engine} -P {at_a_time} -n 1 {command} --index"),
            Self::Slurm => {
                let limit = jobs.map_or(String::new(), |jobs| format!("%{jobs}"));
                format!("{engine} --array={array}{limit} --wrap {}", quoted(&command))
            }
            Self::Hq => {
                let (program, rest) = engine.split_once(' ').unwrap_or((&engine, ""));
                let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
                format!("{program} submit --array={array}{rest} -- {command}")
            }
            Self::Parallel => {
                let log = quoted(&log(text(plan)?));
                let command = command + " --index {}";
                format!("{list} | {engine} --joblog {log} -j {at_a_time} {}", quoted(&command))
            }
        })
    }

    /// What a user should know.
    pub fn note(self, submission: &Submission) -> Option<&'static str> {
        /// `MaxArraySize` of Slurm is 1001 where its configuration is silent.
        const LAST: usize = 1000;
        let beyond = submission.tasks.last().is_some_and(|last| *last > LAST);
        (self == Self::Slurm && beyond).then_some(
            "arrays of Slurm end at index 1000 unless MaxArraySize says otherwise; give --chunk N",
        )
    }
}

impl Submission<'_> {
    /// `higanbana run`, without an index, each word quoted.
    ///
    /// # Errors
    /// When a name is no text.
    pub fn command(&self) -> Result<Vec<String>, String> {
        let words = [&self.program, OsStr::new("run"), OsStr::new("--plan"), &self.plan];
        let words = words.into_iter().chain(self.work.iter().map(OsString::as_os_str));
        words.map(|word| text(word).map(quoted)).collect()
    }

    /// First and last of each run of indices in a row.
    fn ranges(&self) -> Vec<(usize, usize)> {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for &task in &self.tasks {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == task => *last = task,
                _ => ranges.push((task, task)),
            }
        }
        ranges
    }

    /// `0-3,7`.
    fn array(&self) -> String {
        let range = |(first, last)| match first == last {
            true => format!("{first}"),
            false => format!("{first}-{last}"),
        };
        self.ranges().into_iter().map(range).collect::<Vec<_>>().join(",")
    }

    /// `(seq 0 3; seq 7 7)`.
    fn list(&self) -> String {
        let range = |(first, last)| format!("seq {first} {last}");
        let ranges: Vec<String> = self.ranges().into_iter().map(range).collect();
        if ranges.len() == 1 { ranges[0].clone() } else { format!("({})", ranges.join("; ")) }
    }
}

/// A name as text, which a line for a shell is.
fn text(name: &OsStr) -> Result<&str, String> {
    name.to_str().ok_or_else(|| {
        let name = name.display();
        format!("{name}: a name that is not UTF-8 stands in no line; take --engine local with --go")
    })
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A name for GNU parallel's log of jobs under which nothing stands: it would be replaced.
fn log(plan: &str) -> String {
    let names = (1..).map(|number| match number {
        1 => format!("{plan}.joblog"),
        _ => format!("{plan}.{number}.joblog"),
    });
    let is_free = |name: &String| Path::new(name).symlink_metadata().is_err();
    names.into_iter().find(is_free).expect("names do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_jobs_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let plan = folder.path().join("plan.jsonl").display().to_string();
        for expected in ["plan.jsonl.joblog", "plan.jsonl.2.joblog", "plan.jsonl.3.joblog"] {
            let log = log(&plan);
            assert_eq!(log, folder.path().join(expected).display().to_string());
            std::fs::write(log, "mine").unwrap();
        }
    }

    fn line(engine: Engine, jobs: Option<usize>, options: &[&str]) -> Result<String, String> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let submission = Submission {
            program: "/opt/my bin/higanbana".into(),
            plan: "plan.jsonl".into(),
            work: vec!["--chunk".into(), "2".into()],
            tasks: [0, 1, 2, 5, 7, 8].into(),
            jobs,
            options: &options,
        };
        engine.check(&submission).and_then(|()| engine.line(&submission))
    }

    #[test]
    fn a_line_for_each_engine() {
        assert_eq!(
            line(Engine::Slurm, Some(8), &["--gres=gpu:1", "--comment=a b"]).unwrap(),
            r"sbatch --gres=gpu:1 '--comment=a b' --array=0-2,5,7-8%8 --wrap ''\''/opt/my bin/higanbana'\'' run --plan plan.jsonl --chunk 2'"
        );
        assert_eq!(
            line(Engine::Hq, None, &["--cpus", "2"]).unwrap(),
            "hq submit --array=0-2,5,7-8 --cpus 2 -- '/opt/my bin/higanbana' run --plan plan.jsonl --chunk 2"
        );
        assert_eq!(
            line(Engine::Parallel, Some(2), &[]).unwrap(),
            r"(seq 0 2; seq 5 5; seq 7 8) | parallel --joblog plan.jsonl.joblog -j 2 ''\''/opt/my bin/higanbana'\'' run --plan plan.jsonl --chunk 2 --index {}'"
        );
        assert_eq!(
            line(Engine::Local, Some(3), &[]).unwrap(),
            "(seq 0 2; seq 5 5; seq 7 8) | xargs -P 3 -n 1 '/opt/my bin/higanbana' run --plan plan.jsonl --chunk 2 --index"
        );
        assert!(line(Engine::Local, None, &["-x"]).is_err());
        assert!(line(Engine::Hq, Some(2), &[]).is_err());
    }
}
