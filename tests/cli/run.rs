//! A folder, and the binary run in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use burn::tensor::TensorData;
use higanbana_io::{Checkpoint, writer::write_tensors};
use tempfile::{TempDir, tempdir};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_higanbana");

/// A folder of small files in which commands run.
pub struct Desk(TempDir);

impl Desk {
    pub fn new() -> Self {
        Self(tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a safetensors file.
    pub fn tensors(&self, name: &str, tensors: &[(&str, TensorData)]) {
        let tensors = tensors.iter().map(|(key, data)| (key.to_string(), data.clone())).collect();
        let metadata = BTreeMap::from([("name".to_string(), name.to_string())]);
        write_tensors(&self.path(name), &tensors, &metadata, true).unwrap();
    }

    pub fn bytes(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn open(&self, name: &str) -> Checkpoint {
        Checkpoint::open(self.path(name)).unwrap()
    }

    pub fn values(&self, name: &str, key: &str) -> Vec<f64> {
        self.open(name).read(key).unwrap().iter().collect()
    }

    /// What a command says that is used wrongly and leaves the folder as it was.
    pub fn misuse(&self, arguments: &str) -> String {
        let before = self.listing();
        let message = self.run(arguments).is_misused();
        assert_eq!(self.listing(), before);
        message
    }

    /// The message of a command that must fail and leave the folder as it was.
    pub fn refusal(&self, arguments: &str) -> String {
        let before = self.listing();
        let message = self.run(arguments).fails();
        assert_eq!(self.listing(), before);
        message
    }

    /// As [`Self::run`] where no file may grow beyond 500 kB: writing stops as on a full disk.
    #[cfg(unix)]
    pub fn run_without_room(&self, arguments: &str) -> Run {
        let script = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
        let arguments = arguments.split_whitespace();
        self.command(Command::new("sh").args(["-c", script, BINARY]).args(arguments))
    }

    pub fn listing(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `higanbana` with these arguments, split at spaces.
    pub fn run(&self, arguments: &str) -> Run {
        self.command(Command::new(BINARY).args(arguments.split_whitespace()))
    }

    pub fn command(&self, command: &mut Command) -> Run {
        Run(command.current_dir(self.0.path()).output().unwrap())
    }
}

/// What a run printed and how it ended.
pub struct Run(Output);

impl Run {
    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    /// Standard error but for what is told of the progress now and then, which depends on the machine.
    pub fn err(&self) -> String {
        let text = String::from_utf8(self.0.stderr.clone()).unwrap();
        text.split_inclusive('\n').filter(|line| !line.starts_with("progress: ")).collect()
    }

    pub fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    /// Asserts success and gives standard output.
    pub fn succeeds(&self) -> String {
        assert_eq!(self.0.status.code(), Some(0), "{}", self.err());
        self.out()
    }

    /// Asserts exit code 1 and one line `error: ...`, the last one, and gives what follows.
    pub fn fails(&self) -> String {
        assert_eq!(self.0.status.code(), Some(1), "{}{}", self.out(), self.err());
        let (err, out) = (self.err(), self.out());
        assert_eq!(out, "");
        assert_eq!(err.matches("error: ").count(), 1, "{err}");
        let last = err.lines().last().unwrap();
        last.strip_prefix("error: ").unwrap_or_else(|| panic!("{err}")).to_string()
    }

    /// Asserts exit code 1 and one line `error: ...` after a report; gives the report, and what follows.
    pub fn reports(&self) -> [String; 2] {
        assert_eq!(self.0.status.code(), Some(1), "{}{}", self.out(), self.err());
        let err = self.err();
        let error = err.trim_end().strip_prefix("error: ").unwrap_or_else(|| panic!("{err}"));
        [self.out(), error.to_string()]
    }

    /// Asserts exit code 2, wrong usage, and gives the one line that says so.
    pub fn is_misused(&self) -> String {
        assert_eq!(self.0.status.code(), Some(2), "{}", self.err());
        let (err, out) = (self.err(), self.out());
        assert_eq!((err.lines().count(), out.as_str()), (1, ""), "{err}");
        assert!(err.starts_with("error: "), "{err}");
        err
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).unwrap()
    }
}

/// A file of LyCORIS's own.
pub fn reference(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/lycoris");
    folder.join(name).display().to_string()
}

/// ‖a − b‖ / ‖b‖.
pub fn relative(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum();
    (difference / b.iter().map(|y| y * y).sum::<f64>()).sqrt()
}
