use std::{collections::HashMap, fs};

use burn::tensor::TensorData;
use safetensors::{Dtype, tensor::TensorView};
use tempfile::tempdir;

use super::*;
use crate::Checkpoint;

fn bytes_entry<'a>(name: &str, dtype: Dtype, bytes: &'a [u8]) -> Entry<'a, FileError> {
    let length = bytes.len() * 8 / dtype.bitsize();
    Entry::new(name, dtype, [length], || Ok(bytes.to_vec()))
}

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

/// The names left in a folder.
fn listing(folder: &Path) -> Vec<String> {
    let name = |e: std::io::Result<fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    fs::read_dir(folder).unwrap().map(name).collect()
}

#[test]
fn writes_what_the_reference_implementation_writes() {
    let (a, b, c) = ([1u8; 3], [2u8; 8], [3u8; 4]);
    let contents = [("z", Dtype::U8, &a[..]), ("b", Dtype::F32, &b[..]), ("a", Dtype::F16, &c[..])];
    let views = contents.map(|(name, dtype, bytes)| {
        let shape = vec![bytes.len() * 8 / dtype.bitsize()];
        (name, TensorView::new(dtype, shape, bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let expected = safetensors::serialize(views, Some(metadata.clone())).unwrap();

    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let entries = || contents.map(|(name, dtype, bytes)| bytes_entry(name, dtype, bytes)).into();
    let metadata = metadata.into_iter().collect();
    write(&path, entries(), &metadata, false).unwrap();
    assert_eq!(fs::read(&path).unwrap(), expected);
    // The same again, in another order: the same bytes.
    let mut reversed: Vec<_> = entries();
    reversed.reverse();
    write(&path, reversed, &metadata, true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(listing(folder.path()), ["out.safetensors"]);
}

#[test]
fn tensors_come_back() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let tensors = BTreeMap::from([
        ("a".to_string(), TensorData::new(vec![1.0f32, 2.0], [2, 1])),
        ("b".to_string(), TensorData::new(vec![half::bf16::from_f32(3.0)], [0usize; 0])),
        ("c".to_string(), TensorData::new(vec![7i64], [1])),
    ]);
    let metadata = BTreeMap::from([("k".to_string(), "a \"b\"\n".to_string())]);
    write_tensors(&path, &tensors, &metadata, false).unwrap();
    let file = Checkpoint::open(&path).unwrap();
    assert_eq!(file.metadata(), &metadata);
    for (name, data) in &tensors {
        assert_eq!(&file.read(name).unwrap(), data);
    }
    let bytes = fs::read(&path).unwrap();
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
}

#[test]
fn an_existing_output_is_kept() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    fs::write(&path, "mine").unwrap();
    let error = write::<FileError>(&path, vec![], &none(), false).unwrap_err();
    assert!(matches!(error, FileError::Exists { .. }));
    assert!(error.to_string().contains("--overwrite"));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    write::<FileError>(&path, vec![], &none(), true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"\x08\0\0\0\0\0\0\0{}      ");
}

#[test]
fn an_output_that_appears_meanwhile_is_kept() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let entry = Entry::<FileError>::new("a", Dtype::U8, [1], || {
        fs::write(&path, "mine").unwrap();
        Ok(vec![1])
    });
    let error = write(&path, vec![entry], &none(), false).unwrap_err();
    assert!(matches!(error, FileError::Exists { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(listing(folder.path()), ["out.safetensors"]);
}

#[test]
fn a_failing_entry_leaves_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let good = Entry::new("a", Dtype::U8, [1 << 21], || Ok(vec![0; 1 << 21]));
    let bad = Entry::new("b", Dtype::U8, [1], || Err(FileError::Empty { path: "x".into() }));
    let error = write(&path, vec![good, bad], &none(), false).unwrap_err();
    assert!(matches!(error, FileError::Empty { .. }));
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn the_callers_error_type_passes_through() {
    #[derive(Debug, thiserror::Error)]
    enum Mine {
        #[error("mine")]
        Mine,
        #[error(transparent)]
        File(#[from] FileError),
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let entry = || Entry::new("a", Dtype::U8, [1], || Err(Mine::Mine));
    assert!(matches!(write(&path, vec![entry()], &none(), false), Err(Mine::Mine)));
    let missing = folder.path().join("none/out.safetensors");
    let error = write(&missing, vec![entry()], &none(), false).unwrap_err();
    assert!(matches!(error, Mine::File(FileError::NoFolder { .. })), "{error}");
}

#[test]
fn bytes_that_do_not_fit_the_shape_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let entry = Entry::<FileError>::new("k", Dtype::F32, [2], || Ok(vec![0; 7]));
    let message = write(&path, vec![entry], &none(), false).unwrap_err().to_string();
    assert!(message.contains("\"k\" (F32 [2]) cannot be 7 bytes"), "{message}");
    let huge = Entry::<FileError>::new("k", Dtype::F32, [usize::MAX], || Ok(vec![]));
    assert!(matches!(write(&path, vec![huge], &none(), false), Err(FileError::Size { .. })));
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn names_are_unique_and_not_reserved() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    for names in [["a", "a"], ["__metadata__", "a"]] {
        let entries = names.map(|name| bytes_entry(name, Dtype::U8, &[1])).into();
        let error = write(&path, entries, &none(), false).unwrap_err();
        assert!(matches!(error, FileError::DuplicateKey { .. }), "{error}");
    }
}

#[test]
fn a_folder_is_not_replaced() {
    let folder = tempdir().unwrap();
    let error = write::<FileError>(folder.path(), vec![], &none(), true).unwrap_err();
    assert!(matches!(error, FileError::NotAFile { .. }));
}

#[cfg(unix)]
#[test]
fn an_output_has_the_permissions_of_other_new_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
    write::<FileError>(&ours, vec![], &none(), false).unwrap();
    fs::write(&other, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(ours), mode(other));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files_is_an_error() {
    let message = write_text("/proc/out.json".as_ref(), "{}", false).unwrap_err().to_string();
    assert!(message.contains("/proc/out.json: cannot be written"), "{message}");
}

#[test]
fn text_is_written_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("adapter_config.json");
    write_text(&path, "{}", false).unwrap();
    assert!(matches!(write_text(&path, "[]", false), Err(FileError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"{}");
}

#[test]
fn a_folder_is_whole_or_not_there() {
    let around = tempdir().unwrap();
    let path = around.path().join("model");
    let folder = Folder::new(&path).unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    drop(folder);
    assert!(listing(around.path()).is_empty());

    let folder = Folder::new(&path).unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    assert!(!path.exists());
    folder.commit().unwrap();
    assert_eq!(listing(around.path()), ["model"]);
    assert_eq!(listing(&path), ["a"]);

    assert!(matches!(Folder::new(&path), Err(FileError::Exists { .. })));
    let nowhere = around.path().join("nowhere/model");
    assert!(matches!(Folder::new(&nowhere), Err(FileError::NoFolder { .. })));
    // One that appears meanwhile is not replaced.
    let late = around.path().join("late");
    let folder = Folder::new(&late).unwrap();
    fs::create_dir(&late).unwrap();
    assert!(matches!(folder.commit(), Err(FileError::Exists { .. })));
    assert_eq!(listing(&late), [""; 0]);
}
