use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use super::{content::Content, *};

fn put(ledger: &mut Ledger, name: &str, text: &str) -> Result<(), LedgerError> {
    ledger.write_bytes(name, text.as_bytes())
}

/// Of a text, as a ledger has it.
fn whole(text: &str) -> Content {
    Content::Whole { bytes: text.len() as u64, sha256: format!("{:x}", Sha256::digest(text)) }
}

fn text(folder: &TempDir, name: &str) -> Option<String> {
    fs::read_to_string(folder.path().join(name)).ok()
}

fn lines(folder: &TempDir) -> Vec<String> {
    text(folder, LEDGER).unwrap().lines().skip(1).map(String::from).collect()
}

/// `printf 1 | sha256sum`, and of 2.
const SUMS: [&str; 2] = [
    "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35",
];

#[test]
fn a_file_enters_before_it_takes_its_place() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let staged = ledger.write("a/b", |path, replaces| {
        assert!(!replaces && !path.exists());
        assert_eq!(lines(&folder), [r#""a/""#]);
        Ok::<_, LedgerError>(writer::stage_bytes(path, b"1", replaces)?)
    });
    staged.unwrap();
    let line = |sum: &str| format!(r#"{{"file":"a/b","bytes":1,"sha256":"{sum}"}}"#);
    assert_eq!(lines(&folder)[1..], [line(SUMS[0])]);
    // The same again is known already.
    put(&mut ledger, "a/b", "1").unwrap();
    put(&mut ledger, "a/b", "2").unwrap();
    assert_eq!(text(&folder, "a/b").unwrap(), "2");
    assert_eq!(lines(&folder)[1..], SUMS.map(line));
    ledger.remove("a/b").unwrap();
    ledger.remove("a/").unwrap();
    assert!(!folder.path().join("a").exists());
    assert_eq!(lines(&folder)[3..], [r#"-"a/b""#, r#"-"a/""#]);
}

#[test]
fn a_file_that_cannot_be_written_is_not_listed() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let failed = ledger.write("a", |path, replaces| {
        let staged = writer::stage_bytes(path, b"ours", replaces)?;
        // It appears at the last moment, and is another's.
        fs::write(path, "mine").unwrap();
        Ok::<_, LedgerError>(staged)
    });
    assert!(failed.is_err());
    assert!(matches!(put(&mut ledger, "a", "ours"), Err(LedgerError::Foreign { .. })));
    drop(ledger);
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    ledger.remove("a").unwrap_err();
    assert_eq!(text(&folder, "a").unwrap(), "mine");
}

/// Changed in place to the same length, cut off, replaced, and put where ours was removed.
#[test]
fn what_was_changed_is_not_ours_any_more() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    for name in ["a", "rows/b"] {
        for theirs in ["mine", "our", "", "what I wrote"] {
            put(&mut ledger, name, "ours").unwrap();
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            fs::write(&path, theirs).unwrap();
            for refused in [
                put(&mut ledger, name, "later"),
                ledger.remove(name),
                ledger.remove("rows/").and(ledger.remove(name)),
                Ledger::check(folder.path(), &[name]),
                Ledger::check(folder.path(), &["rows/*", "a*"]),
            ] {
                let error = refused.unwrap_err();
                assert!(matches!(error, LedgerError::Changed { .. }), "{error}");
                assert!(error.to_string().contains("was changed since it was written here"));
            }
            assert!(!ledger.has(name));
            assert_eq!(text(&folder, name).unwrap(), theirs);
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn something_put_there_while_a_file_is_made_stays() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    put(&mut ledger, "a", "1").unwrap();
    let refused = ledger.write("a", |path, replaces| {
        let staged = writer::stage_bytes(path, b"2", replaces)?;
        fs::write(path, "mine").unwrap();
        Ok::<_, LedgerError>(staged)
    });
    assert!(matches!(refused, Err(LedgerError::Changed { .. })));
    assert_eq!(text(&folder, "a").unwrap(), "mine");
}

#[test]
fn what_cannot_be_put_down_does_not_take_its_place() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    put(&mut ledger, "a", "1").unwrap();
    // A ledger on a disk that is full.
    ledger.file = File::open(folder.path().join(LEDGER)).unwrap();
    for name in ["a", "b"] {
        let error = put(&mut ledger, name, "2").unwrap_err();
        assert!(matches!(error, LedgerError::File(FileError::Write { .. })), "{error}");
    }
    assert_eq!((text(&folder, "a").as_deref(), text(&folder, "b")), (Some("1"), None));
}

/// The line is on the disk, the file has not taken its place or just has.
#[test]
fn a_kill_between_the_line_and_the_file_leaves_both_ours() {
    for stands in [None, Some("1"), Some("2")] {
        let folder = tempdir().unwrap();
        let mut ledger = Ledger::claim(folder.path()).unwrap();
        put(&mut ledger, "a", "1").unwrap();
        ledger.enter([("a".into(), whole("2"))]).unwrap();
        drop(ledger);
        match stands {
            Some(text) => fs::write(folder.path().join("a"), text).unwrap(),
            None => fs::remove_file(folder.path().join("a")).unwrap(),
        }
        let mut ledger = Ledger::claim(folder.path()).unwrap();
        put(&mut ledger, "a", "3").unwrap();
        assert_eq!(text(&folder, "a").unwrap(), "3");
    }
}

/// Names alone, of which any content is ours, until the file is written anew.
#[test]
fn ledgers_of_earlier_versions_are_read() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("rows")).unwrap();
    fs::write(folder.path().join(LEDGER), format!("{HEADER}\"a\"\n\"rows/\"\n\"rows/b\"\n"))
        .unwrap();
    for name in ["a", "rows/b"] {
        fs::write(folder.path().join(name), "of an earlier version").unwrap();
    }
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    put(&mut ledger, "a", "1").unwrap();
    ledger.remove("rows/").unwrap();
    assert!(!folder.path().join("rows").exists());
    fs::write(folder.path().join("a"), "mine").unwrap();
    assert!(matches!(put(&mut ledger, "a", "2"), Err(LedgerError::Changed { .. })));
}

#[test]
fn a_file_that_grows_is_known_by_its_first_line() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let path = folder.path().join("log");
    let first = "é".repeat(200) + "\n";
    drop(ledger.open("log").unwrap());
    ledger.begins("log", &first).unwrap();
    for (stands, is_ours) in [
        (String::new(), true),
        (first[..10].into(), true),
        (first.clone(), true),
        (format!("{first}more"), true),
        ("é".repeat(9) + "mine", false),
        (format!("mine\n{first}"), false),
    ] {
        fs::write(&path, &stands).unwrap();
        assert_eq!(ledger.open("log").is_ok(), is_ours, "{stands}");
        ledger.begins("log", &first).unwrap();
    }
    // When it is complete, by all of it.
    fs::write(&path, format!("{first}more")).unwrap();
    ledger.ends("log").unwrap();
    fs::write(&path, format!("{first}mine")).unwrap();
    assert!(matches!(ledger.open("log"), Err(LedgerError::Changed { .. })));
    // And that which goes on.
    fs::write(&path, format!("{first}more")).unwrap();
    drop(ledger.open("log").unwrap());
    fs::write(&path, format!("{first}more and more")).unwrap();
    assert!(Ledger::check(folder.path(), &["log"]).is_ok());
}

/// A large file is read once, and again when its length or its time of change is another.
#[test]
fn large_files_are_told_apart_too() {
    let folder = tempdir().unwrap();
    let mut ledger = Ledger::claim(folder.path()).unwrap();
    let mut large = vec![b'1'; 1 << 26];
    ledger.write_bytes("a", &large).unwrap();
    assert!(ledger.has("a") && ledger.has("a"));
    large[1 << 25] = b'2';
    fs::write(folder.path().join("a"), &large).unwrap();
    assert!(!ledger.has("a"));
    assert!(ledger.write_bytes("a", b"later").is_err());
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
        of(r#"{"file":"../a","bytes":1,"sha256":"6b"}"#),
        of(r#"{"file":"a","bytes":-1,"sha256":"6b"}"#),
        of(r#"{"file":"a","bytes":1}"#),
        of(r#"{"file":"a","begins":"b","else":1}"#),
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
    /// It is killed when the line is written and the file has not taken its place.
    KillBetween(usize),
    /// Somebody puts a file where nothing stands, or in the place of one.
    Plant(usize),
    /// Somebody changes a file, and its length or not.
    Change(usize, bool),
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
        1 => name().prop_map(Event::KillBetween),
        4 => name().prop_map(Event::Plant),
        2 => (name(), any::<bool>()).prop_map(|(i, same)| Event::Change(i, same)),
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
                    let torn = names::line("later", &whole("ours"));
                    bytes.extend(&torn.as_bytes()[..kept.min(torn.len() - 1)]);
                    fs::write(&path, bytes).unwrap();
                    ledger = Ledger::claim(folder.path()).unwrap();
                }
                Event::KillBetween(i) => {
                    let name = NAMES[i].trim_end_matches('/');
                    if ledger.is_own(name).is_ok() {
                        ledger.enter([(name.to_string(), whole("ours, too"))]).unwrap();
                    }
                    drop(ledger);
                    ledger = Ledger::claim(folder.path()).unwrap();
                }
                Event::Plant(i) => {
                    let path = folder.path().join(NAMES[i].trim_end_matches('/'));
                    let made = fs::create_dir_all(path.parent().unwrap());
                    if made.is_ok() && !path.is_dir() {
                        let content = format!("mine {number}");
                        fs::write(&path, &content).unwrap();
                        planted.insert(path, content);
                    }
                }
                Event::Change(i, same) => {
                    let path = folder.path().join(NAMES[i].trim_end_matches('/'));
                    if path.is_file() {
                        let content = if same { "Ours" } else { "ours, changed" };
                        fs::write(&path, content).unwrap();
                        planted.insert(path, content.to_string());
                    }
                }
            }
            for (path, content) in &planted {
                prop_assert_eq!(&fs::read_to_string(path).unwrap(), content);
            }
        }
        // And what counts as ours at the end is.
        for name in ledger.files("").iter().filter(|name| ledger.has(name)) {
            prop_assert!(!planted.contains_key(&folder.path().join(name)), "{}", name);
        }
    }
}
