//! Pickles that torch wrote: `tests/reference/make_formats.py`.

use std::{fs, io::Write};

use proptest::prelude::*;

use super::{message, raw};
use crate::{Checkpoint, Dtype, testing::reference};

fn fixture(name: &str) -> std::path::PathBuf {
    reference(&format!("formats/{name}"))
}

/// Every tensor of both, to the bit.
fn assert_same(file: &Checkpoint, expected: &Checkpoint) {
    let mut names = expected.names().to_vec();
    names.sort();
    assert_eq!(file.names(), names, "{}", file.path().display());
    for name in file.names() {
        assert_eq!(file.info(name), expected.info(name), "{name}");
        assert_eq!(file.read(name).unwrap(), expected.read(name).unwrap(), "{name}");
    }
}

#[test]
fn every_container_holds_the_same_tensors() {
    let expected = Checkpoint::open(fixture("expected.safetensors")).unwrap();
    for (name, passed_over) in [
        ("weights.bin", None),
        ("legacy.ckpt", Some("epoch, global_step, lr_schedulers, optimizer_states, pytorch-")),
        ("whole.ckpt", Some("callbacks, epoch, global_step, lr_schedulers, optimizer_states, ...")),
    ] {
        let file = Checkpoint::open(fixture(name)).unwrap();
        assert_same(&file, &expected);
        assert_eq!(file.total_bytes(), fs::metadata(fixture(name)).unwrap().len());
        assert_eq!(file.notes().len(), usize::from(passed_over.is_some()), "{:?}", file.notes());
        let notes = file.notes().join("\n");
        assert!(notes.contains(passed_over.unwrap_or_default()), "{notes}");
    }
    assert_eq!(expected.info("brain").unwrap().dtype, Dtype::BF16);
}

/// The reader of pickles has no such type: they are read as integers, where there are no others.
#[test]
fn floats_of_8_bits_are_told_from_integers() {
    for (name, tensors) in [
        (
            "float8.pt",
            &[("e4m3", Dtype::F8_E4M3), ("e5m2", Dtype::F8_E5M2), ("plain", Dtype::F32)][..],
        ),
        ("float8_bytes.pt", &[("bytes", Dtype::U8), ("e5m2", Dtype::F8_E5M2)]),
    ] {
        let file = Checkpoint::open(fixture(name)).unwrap();
        let told: Vec<_> =
            file.names().iter().map(|it| (&**it, file.info(it).unwrap().dtype)).collect();
        assert_eq!(told, tensors);
        for (key, dtype) in tensors.iter().filter(|(key, _)| key.starts_with('e')) {
            let expected = Checkpoint::open(fixture(&format!("{key}.safetensors"))).unwrap();
            assert_eq!(expected.info(key).unwrap().dtype, *dtype);
            assert_eq!(file.read_bytes(key).unwrap(), expected.read_bytes(key).unwrap(), "{name}");
        }
    }
    for (name, what) in [
        ("float8_full.pt", "its 8-bit floats stand beside integers of 8 bits"),
        ("float8_legacy.pt", "torch.float8_e4m3fn"),
    ] {
        let message = message(&fixture(name));
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_list_is_a_dictionary_of_its_indices() {
    let file = Checkpoint::open(fixture("counted.pt")).unwrap();
    assert_eq!(file.names().len(), 20);
    let up: Vec<f32> = file.read("list.2").unwrap().iter().collect();
    assert_eq!((file.info("list.2").unwrap().shape.as_slice(), up), (&[2, 1][..], vec![0.25; 2]));
}

#[test]
fn what_would_do_harm_is_refused_and_not_done() {
    for (name, what) in [("hostile.pt", "posix.system"), ("hostile_root.pt", "posix.system")] {
        let message = message(&fixture(name));
        assert!(message.starts_with("cannot be read as a PyTorch file"), "{message}");
        assert!(message.contains(what), "{message}");
    }
    assert!(!std::path::Path::new("higanbana-was-here").exists());
}

#[test]
fn what_is_no_pickle_of_weights_says_why() {
    let zip = {
        let mut bytes = Vec::new();
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(&mut bytes));
        zip.start_file("a.txt", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"no pickle").unwrap();
        zip.finish().unwrap();
        bytes
    };
    for (bytes, what) in [
        (zip, "No data.pkl"),
        (b"PK\x03\x04................".to_vec(), "archive"),
        (b"\x80\x02}q\x00X............".to_vec(), "expected 774778414 bytes, found 8"),
        // A list outside of an archive: [1].
        (b"\x80\x02]q\x00K\x01a........".to_vec(), "found list"),
    ] {
        let (_folder, path) = raw(&bytes);
        let message = message(&path);
        assert!(message.starts_with("cannot be read as a PyTorch file"), "{message}");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_view_that_claims_more_than_the_file_is_refused() {
    // The shape of `expanded`, (3, 2) with stride 0, becomes (66051, 2), whose halves are still views.
    let mut bytes = fs::read(fixture("legacy.ckpt")).unwrap();
    let at = bytes.windows(6).position(|it| it == b"K\x03K\x02\x86q").expect("the shape is there");
    let shape = b"J\xff\xff\x0f\x00K\x02\x86";
    bytes.splice(at..at + 5, shape.iter().copied());
    let (_folder, path) = raw(&bytes);
    let message = message(&path);
    assert!(
        message.contains("\"expanded\" would be 8388600 bytes, more than the file"),
        "{message}"
    );
}

proptest! {
    /// A pickle with a byte changed is read or refused in one line.
    #[test]
    fn any_changed_byte_is_survived(
        which in prop::sample::select(vec!["weights.bin", "legacy.ckpt", "counted.pt"]),
        at in 0usize..4000,
        value: u8,
    ) {
        let mut bytes = fs::read(fixture(which)).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        let (_folder, path) = raw(&bytes);
        if let Ok(file) = Checkpoint::open(path).map_err(|e| assert!(!e.to_string().contains('\n'))) {
            for name in file.names() {
                let _ = file.read(name).map_err(|e| assert!(!e.to_string().contains('\n')));
            }
        }
    }
}
