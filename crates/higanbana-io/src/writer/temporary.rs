//! Temporary files and folders, and those that dead processes left.
//!
//! Each is locked by the process that writes it, for as long as that lives: one that nobody holds was left
//! by a process that was killed, and the next one that writes into the same folder removes it. The name
//! says under which boot of which machine it was made, because a lock is only sure to be seen there: of
//! another machine's, as on a cluster's disk, those are removed that have not been touched for a day.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tempfile::{Builder, NamedTempFile, TempDir};

/// What all names begin with.
const PREFIX: &str = ".higanbana-";

/// Random characters that they end with.
const RANDOM: usize = 6;

/// How long one of another machine must have lain.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Temporary files and folders of this process.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Folders that this process has looked through.
static TIDIED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The boot of this machine, in eight digits; empty where the system does not tell.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().take_while(char::is_ascii_hexdigit).collect()
});

/// One of [`UNDER_WAY`], as long as this lives.
pub(super) struct Held {
    path: PathBuf,
    /// The lock of a folder; that of a file is held by its own handle.
    _lock: Option<File>,
}

impl Held {
    /// A new temporary file.
    pub fn file(folder: &Path) -> io::Result<(NamedTempFile, Self)> {
        tidy_once(folder);
        loop {
            let (file, held) =
                Self::new(|| builder(0o666).tempfile_in(folder), |file| file.path())?;
            // Where there are no locks, nothing of ours is ever taken for dead.
            let _ = file.as_file().lock();
            if held.is_there() {
                return Ok((file, held));
            }
        }
    }

    /// A new temporary folder.
    pub fn folder(folder: &Path) -> io::Result<(TempDir, Self)> {
        tidy_once(folder);
        loop {
            let (made, mut held) = Self::new(|| builder(0o777).tempdir_in(folder), TempDir::path)?;
            held._lock = File::open(made.path()).ok();
            held._lock.iter().for_each(|lock| drop(lock.lock()));
            if held.is_there() {
                return Ok((made, held));
            }
        }
    }

    /// It is listed before a signal can ask for the list.
    fn new<T>(
        make: impl FnOnce() -> io::Result<T>,
        path: impl Fn(&T) -> &Path,
    ) -> io::Result<(T, Self)> {
        let mut under_way = under_way();
        let temporary = make()?;
        under_way.insert(path(&temporary).into());
        let held = Self { path: path(&temporary).into(), _lock: None };
        Ok((temporary, held))
    }

    /// Another process may have taken it for dead before it was locked.
    fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        under_way().remove(&self.path);
    }
}

fn under_way() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is half-written, for a process that ends now: a signal runs no destructor. No output
/// can be begun any more.
pub fn abandon() {
    let under_way = under_way();
    for path in under_way.iter() {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    std::mem::forget(under_way);
}

/// Removes what dead processes left in a folder, once for each folder.
fn tidy_once(folder: &Path) {
    let mut tidied = TIDIED.lock().unwrap_or_else(PoisonError::into_inner);
    if tidied.insert(folder.into()) {
        tidy(folder, may_go);
    }
}

/// The same in a folder that this process has the claim on: nobody on another machine writes there.
pub(crate) fn tidy_claimed(folder: &Path) {
    tidy(folder, |_| true);
}

/// What cannot be removed does no harm.
fn tidy(folder: &Path, may_go: impl Fn(&Path) -> bool) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    for path in ours.map(|entry| entry.path()).filter(|path| may_go(path)) {
        let Ok(there) = path.symlink_metadata() else { continue };
        if !there.is_file() && !there.is_dir() {
            continue;
        }
        // It is held until it is gone: who has just made it would lock it in vain, and see that.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = if there.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Whether a name is one of those that [`builder`] gives.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(boot, random)| {
        boot.chars().all(|c| c.is_ascii_hexdigit())
            && matches!(boot.len(), 0 | 8)
            && random.len() == RANDOM
            && random.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// Whether one goes that nobody is seen to hold, in a folder where others may write.
fn may_go(path: &Path) -> bool {
    is_of_this_boot(path) || is_old(path)
}

fn is_of_this_boot(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !BOOT.is_empty() && name.starts_with(&format!("{PREFIX}{}-", *BOOT))
}

fn is_old(path: &Path) -> bool {
    let changed = path.symlink_metadata().and_then(|there| there.modified());
    changed.is_ok_and(|time| time.elapsed().is_ok_and(|lain| lain > OLD))
}

/// Temporary files are private by default; an output has the permissions of any other new file.
#[cfg(unix)]
fn builder(mode: u32) -> Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = named();
    builder.permissions(std::fs::Permissions::from_mode(mode));
    builder
}

#[cfg(not(unix))]
fn builder(_: u32) -> Builder<'static, 'static> {
    named()
}

fn named() -> Builder<'static, 'static> {
    static NAME: LazyLock<String> = LazyLock::new(|| format!("{PREFIX}{}-", *BOOT));
    let mut builder = Builder::new();
    builder.prefix(NAME.as_str()).rand_bytes(RANDOM);
    builder
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tempfile::tempdir;

    use super::*;

    /// What is left of entries that stand in a folder.
    fn left(made: impl Fn(&Path)) -> Vec<String> {
        let folder = tempdir().unwrap();
        made(folder.path());
        tidy(folder.path(), may_go);
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn of_this_boot(end: &str) -> String {
        format!("{PREFIX}{}-{end}", *BOOT)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_dead_process_left_goes_and_what_is_held_stays() {
        let left = left(|folder| {
            // Held to the end of this process.
            std::mem::forget(Held::folder(folder).unwrap());
            std::mem::forget(Held::file(folder).unwrap());
            fs::write(folder.join(of_this_boot("aaaaaa")), "x").unwrap();
            fs::create_dir_all(folder.join(of_this_boot("bbbbbb")).join("c")).unwrap();
        });
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!left.iter().any(|name| name.ends_with("aaaaaa") || name.ends_with("bbbbbb")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_names_of_ours_go_and_links_stay() {
        let strange =
            [".higanbana", ".higanbana-backup", ".higanbana-notes-of-mine", ".higanbana-"];
        let left = left(|folder| {
            strange.iter().for_each(|name| fs::write(folder.join(name), "x").unwrap());
            std::os::unix::fs::symlink("elsewhere", folder.join(of_this_boot("cccccc"))).unwrap();
        });
        assert_eq!(left.len(), strange.len() + 1, "{left:?}");
    }

    #[test]
    fn of_another_machine_what_is_old_goes() {
        let left = left(|folder| {
            for (name, days) in
                [(".higanbana-00000000-young1", 0), (".higanbana-00000000-older1", 2)]
            {
                let file = File::create(folder.join(name)).unwrap();
                file.set_modified(SystemTime::now() - days * OLD).unwrap();
            }
        });
        assert_eq!(left, [".higanbana-00000000-young1"]);
    }
}
