use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::writer::write_text;

fn put(ledger: &mut Ledger, name: &str, text: &str) -> Result<(), LedgerError> {
    ledger.write(name, |path, replaces| Ok(write_text(path, text, replaces)?))
}

fn text(folder: &TempDir, name: &str) -> Option<String> {
    fs::read_to_string(folder.path().join(name)).ok()
}

fn lines(folder: &TempDir) -> Vec<String> {
    text(folder, LEDGER).unwrap().lines().skip(1).map(String::from).collect()
}

#[test]
fn a_name_enters_once_and_before_its_file() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let listed = ledger.write("a/b", |path, replaces| {
        assert!(!replaces && !path.exists());
        write_text(path, "1", replaces)?;
        Ok::<_, LedgerError>(lines(&folder))
    });
    assert_eq!(listed.unwrap(), [r#""a/""#, r#""a/b""#]);
    put(&mut ledger, "a/b", "2").unwrap();
    assert_eq!(text(&folder, "a/b").unwrap(), "2");
    assert_eq!(lines(&folder).len(), 2);
    ledger.remove("a/b").unwrap();
    ledger.remove("a/").unwrap();
    assert!(!folder.path().join("a").exists());
    assert_eq!(lines(&folder)[2..], [r#"-"a/b""#, r#"-"a/""#]);
}

#[test]
fn a_file_that_cannot_be_written_is_not_listed() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let failed = ledger.write("a", |path, replaces| {
        // It appears at the last moment, and is another's.
        fs::write(path, "mine").unwrap();
        Ok::<_, LedgerError>(write_text(path, "ours", replaces)?)
    });
    assert!(failed.is_err());
    assert!(matches!(put(&mut ledger, "a", "ours"), Err(LedgerError::Foreign { .. })));
    drop(ledger);
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    ledger.remove("a").unwrap_err();
    assert_eq!(text(&folder, "a").unwrap(), "mine");
}

#[test]
fn half_a_line_is_no_line() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    put(&mut ledger, "a", "1").unwrap();
    drop(ledger);
    let whole = text(&folder, LEDGER).unwrap();
    for length in 0..whole.len() {
        fs::write(folder.path().join(LEDGER), &whole[..length]).unwrap();
        let found = Ledger::check(folder.path(), &["a"]);
        assert!(matches!(found, Err(LedgerError::Foreign { .. })), "{length}");
        drop(Ledger::claim(folder.path()).unwrap());
        assert_eq!(lines(&folder), [""; 0]);
    }
}

#[test]
fn what_is_no_ledger_is_left_as_it_is() {
    let folder = tempdir().unwrap();
    let of = |line: &str| format!("{HEADER}{line}\n");
    for content in [
        "mine".to_string(),
        of("a"),
        of(r#""../a""#),
        of(r#""/a""#),
        of(r#""a/../b""#),
        of(r#""./a""#),
        of(r#""""#),
    ] {
        fs::write(folder.path().join(LEDGER), &content).unwrap();
        assert!(Ledger::check(folder.path(), &["b"]).is_err(), "{content}");
        let error = Ledger::claim(folder.path()).unwrap_err().to_string();
        assert!(error.contains("higanbana.ledger: is no ledger ("), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(text(&folder, LEDGER).unwrap(), content);
    }
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join(LEDGER)).unwrap();
    assert!(Ledger::claim(folder.path()).is_err());
}

#[test]
fn names_with_stars_stand_for_all_that_begin_so() {
    let folder = tempdir().unwrap();
    let refused = |names: &[&str]| match Ledger::check(folder.path(), names) {
        Ok(()) => None,
        Err(LedgerError::Foreign { path }) => {
            let name = path.strip_prefix(folder.path()).unwrap();
            Some(name.to_string_lossy().into_owned())
        }
        Err(error) => panic!("{error}"),
    };
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    put(&mut ledger, "rows/step-1", "").unwrap();
    assert_eq!(refused(&["rows/step-*", "model/", "model/*", "page"]), None);
    for (name, found) in [
        ("rows/mine", None),
        ("rows/step-2", Some("rows/step-2")),
        ("model/unet/weights", Some("model")),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(refused(&["rows/step-*", "model/*"]).as_deref(), found);
        if found.is_some() {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(refused(&["mod*"]).as_deref(), Some("model"));
    assert_eq!(refused(&["rows"]).as_deref(), Some("rows"));
}

#[cfg(unix)]
#[test]
fn a_link_is_nobodys() {
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    for name in ["a", "rows/b"] {
        put(&mut ledger, name, "1").unwrap();
        fs::write(other.path().join(name.trim_start_matches("rows/")), "mine").unwrap();
    }
    let replace = |name: &str, with: &str| {
        let path = folder.path().join(name);
        fs::rename(&path, folder.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(other.path().join(with), path).unwrap();
    };
    replace("a", "a");
    fs::remove_file(folder.path().join("aside")).unwrap();
    replace("rows", "");
    for name in ["a", "rows/b"] {
        assert!(put(&mut ledger, name, "2").is_err());
        assert!(ledger.remove(name).is_err());
    }
    assert!(ledger.remove("rows/").is_err());
    for name in ["a", "b"] {
        assert_eq!(text(&other, name).unwrap(), "mine");
    }
}

#[test]
fn a_folder_is_replaced_where_all_of_it_is_ours() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let mut fill = |file: &'static str| {
        ledger.write_folder("model", |path| {
            fs::create_dir(path.join("unet")).unwrap();
            fs::write(path.join("unet").join(file), file).unwrap();
            Ok::<_, LedgerError>(())
        })
    };
    fill("a").unwrap();
    fill("b").unwrap();
    assert_eq!(text(&folder, "model/unet/b").unwrap(), "b");
    assert!(text(&folder, "model/unet/a").is_none());
    fs::write(folder.path().join("model/README.md"), "mine").unwrap();
    assert!(matches!(fill("c"), Err(LedgerError::Foreign { .. })));
    assert_eq!(text(&folder, "model/unet/b").unwrap(), "b");
    assert_eq!(text(&folder, "model/README.md").unwrap(), "mine");
    ledger.remove("model/").unwrap();
    assert_eq!(text(&folder, "model/README.md").unwrap(), "mine");
    assert!(text(&folder, "model/unet/b").is_none());
}

/// What happens to a folder.
#[derive(Debug, Clone)]
enum Event {
    /// We write a file.
    Write(usize),
    /// We write a folder of two files.
    Folder,
    /// We remove what is called so.
    Remove(usize),
    /// Our process is killed while it writes a line of the ledger, of which this much stays.
    Kill(usize),
    /// Somebody puts a file where nothing stands, if this holds.
    Plant(usize),
}

/// Files at one depth and another, and folders.
const NAMES: [&str; 7] = ["a", "b", "rows/", "rows/a", "model/", "model/x", "model/y"];

fn event() -> impl Strategy<Value = Event> {
    let name = || 0..NAMES.len();
    prop_oneof![
        4 => name().prop_map(Event::Write),
        1 => Just(Event::Folder),
        2 => name().prop_map(Event::Remove),
        1 => (0usize..20).prop_map(Event::Kill),
        4 => name().prop_map(Event::Plant),
    ]
}

proptest! {
    // Each waits for the disk, many times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever order things happen in, every file of another's is there at the end, to the byte.
    #[test]
    fn no_file_of_anothers_is_ever_lost(events in prop::collection::vec(event(), 1..40)) {
        let folder = tempdir().unwrap();
        let mut ledger = Ledger::claim(folder.path()).unwrap();
        let mut planted = BTreeMap::new();
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Write(i) => drop(put(&mut ledger, NAMES[i].trim_end_matches('/'), "ours")),
                Event::Folder => drop(ledger.write_folder("model", |path| {
                    ["x", "y"].iter().for_each(|name| fs::write(path.join(name), "ours").unwrap());
                    Ok::<_, LedgerError>(())
                })),
                Event::Remove(i) => drop(ledger.remove(NAMES[i])),
                Event::Kill(kept) => {
                    drop(ledger);
                    let path = folder.path().join(LEDGER);
                    let mut bytes = fs::read(&path).unwrap();
                    let torn = names::line("later", false);
                    bytes.extend(&torn.as_bytes()[..kept.min(torn.len() - 1)]);
                    fs::write(&path, bytes).unwrap();
                    ledger = Ledger::claim(folder.path()).unwrap();
                }
                Event::Plant(i) => {
                    let path = folder.path().join(NAMES[i].trim_end_matches('/'));
                    if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
                        let content = format!("mine {number}");
                        fs::write(&path, &content).unwrap();
                        planted.insert(path, content);
                    }
                }
            }
            for (path, content) in &planted {
                prop_assert_eq!(&fs::read_to_string(path).unwrap(), content);
            }
        }
        // And what is listed at the end is ours.
        for name in ledger.files("") {
            prop_assert!(!planted.contains_key(&folder.path().join(&name)), "{}", name);
        }
    }
}
