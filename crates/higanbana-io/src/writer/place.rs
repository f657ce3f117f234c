//! How an output lies to an input.

use std::path::{Path, PathBuf};

/// How one path lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Neither has to do with the other.
    Apart,
    /// Both name one file or folder.
    Same,
    /// The first lies in the second.
    Within,
    /// The second lies in the first.
    Around,
}

impl Place {
    /// Links are followed, and paths need not exist to their end.
    pub fn of(path: &Path, other: &Path) -> Self {
        let [path, other] = [path, other].map(real);
        match (path.starts_with(&other), other.starts_with(&path)) {
            (true, true) => Self::Same,
            (true, false) => Self::Within,
            (false, true) => Self::Around,
            (false, false) => Self::Apart,
        }
    }
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent == Path::new("") { Path::new(".") } else { parent };
            real(parent).join(name)
        }
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_lie_apart_or_in_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("model/unet")).unwrap();
        for (one, other, place) in [
            ("model", "model", Place::Same),
            ("model/unet/..", "model", Place::Same),
            ("model/new/a", "model", Place::Within),
            ("model", "model/unet", Place::Around),
            ("models", "model", Place::Apart),
            ("new", "new", Place::Same),
        ] {
            assert_eq!(Place::of(&path(one), &path(other)), place, "{one} {other}");
        }
        assert_eq!(Place::of(Path::new("new"), Path::new("./new")), Place::Same);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("model")).unwrap();
        std::os::unix::fs::symlink(path("model"), path("link")).unwrap();
        assert_eq!(Place::of(&path("link"), &path("model")), Place::Same);
        assert_eq!(Place::of(&path("link/new"), &path("model")), Place::Within);
    }
}
