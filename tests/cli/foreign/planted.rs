//! Files of others, put where commands write.

use std::{
    collections::BTreeMap,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::cli::run::{BINARY, Desk};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum There {
    File(Vec<u8>),
    Folder,
    Link(PathBuf),
    Nothing,
}

impl There {
    fn at(path: &Path) -> Self {
        match fs::symlink_metadata(path) {
            Err(_) => Self::Nothing,
            Ok(there) if there.is_symlink() => Self::Link(fs::read_link(path).unwrap()),
            Ok(there) if there.is_dir() => Self::Folder,
            Ok(_) => Self::File(fs::read(path).unwrap()),
        }
    }
}

/// Files of others on a desk.
pub struct Planted<'a> {
    desk: &'a Desk,
    there: BTreeMap<PathBuf, There>,
}

impl<'a> Planted<'a> {
    pub fn on(desk: &'a Desk) -> Self {
        Self { desk, there: BTreeMap::new() }
    }

    /// Puts files there, each with content of its own.
    pub fn files(&mut self, names: &[&str]) {
        for name in names {
            let path = self.desk.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let content = format!("{name} is mine");
            fs::write(&path, &content).unwrap();
            self.there.insert(path, There::File(content.into()));
        }
    }

    /// Puts a link there to a file or a folder, which is planted as well.
    pub fn link(&mut self, name: &str, to: &str) {
        let (path, to) = (self.desk.path(name), self.desk.path(to));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&to, &path).unwrap();
        self.there.insert(path.clone(), There::at(&path));
        self.all(&to);
    }

    /// What is there already is another's.
    pub fn all(&mut self, path: &Path) {
        self.there.insert(path.into(), There::at(path));
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.all(&entry.unwrap().path());
            }
        }
    }

    /// Takes one away again.
    pub fn take(&mut self, name: &str) {
        let path = self.desk.path(name);
        self.there.remove(&path).unwrap();
        fs::remove_file(path).unwrap();
    }

    /// That all are there as they were.
    pub fn are_there(&self) {
        for (path, there) in &self.there {
            assert!(There::at(path) == *there, "{} was {there:?}", path.display());
        }
    }

    /// The line by which a command refuses to work, having changed nothing at all.
    pub fn refuse(&self, arguments: &str) -> String {
        let mut before = Planted::on(self.desk);
        before.all(&self.desk.path("."));
        let error = self.desk.refusal(arguments);
        before.are_there();
        error
    }

    /// The same for an output that is an input, which is wrong usage.
    pub fn misuse(&self, arguments: &str) -> String {
        let mut before = Planted::on(self.desk);
        before.all(&self.desk.path("."));
        let error = self.desk.misuse(arguments);
        before.are_there();
        error
    }
}

/// Starts a command and kills it when a file holds so many lines.
pub fn kill(desk: &Desk, arguments: &str, file: &Path, lines: RangeInclusive<usize>) {
    let mut child = start(desk, arguments);
    let begun = Instant::now();
    while !lines.contains(&fs::read_to_string(file).map_or(0, |text| text.lines().count())) {
        assert!(child.try_wait().unwrap().is_none(), "{arguments}: it has ended");
        assert!(begun.elapsed() < Duration::from_secs(120), "{arguments}: it does not start");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn start(desk: &Desk, arguments: &str) -> Child {
    Command::new(BINARY)
        .args(arguments.split_whitespace())
        .current_dir(desk.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
