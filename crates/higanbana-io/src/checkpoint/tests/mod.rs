mod float8;
mod folder;
mod pytorch;

use std::{fs, path::PathBuf};

use burn::tensor::DType;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use safetensors::Dtype;

/// A file of a header and `data` zeros.
fn file(header: &str, data: usize) -> (TempDir, PathBuf) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    raw(&bytes)
}

fn raw(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The message for a header and `data` bytes: one line that begins with the file.
fn refusal(header: &str, data: usize) -> String {
    let (_folder, path) = file(header, data);
    message(&path)
}

fn message(path: &Path) -> String {
    let message = Checkpoint::open(path).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    let rest = message.strip_prefix(&format!("{}: ", path.display()));
    rest.unwrap_or_else(|| panic!("{message}")).to_string()
}

#[test]
fn reads_what_the_reference_implementation_writes() {
    let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let half: Vec<u8> =
        [half::f16::from_f32(0.25); 3].iter().flat_map(|x| x.to_le_bytes()).collect();
    let views = [
        ("b.weight", safetensors::tensor::TensorView::new(Dtype::F32, vec![1, 2], &data).unwrap()),
        ("a.alpha", safetensors::tensor::TensorView::new(Dtype::F16, vec![3], &half).unwrap()),
    ];
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let (_folder, path) = raw(&safetensors::serialize(views, Some(metadata)).unwrap());

    let file = Checkpoint::open(&path).unwrap();
    assert_eq!(file.names(), ["b.weight", "a.alpha"]);
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(file.total_bytes(), fs::metadata(&path).unwrap().len());
    assert_eq!(file.info("a.alpha").unwrap().shape, [3]);
    let b = file.read("b.weight").unwrap();
    assert_eq!((b.dtype(), b.shape().as_slice()), (DType::F32, &[1, 2][..]));
    assert_eq!(b.as_slice::<f32>().unwrap(), [1.5, -2.0]);
    assert_eq!(file.read("a.alpha").unwrap().as_slice::<half::f16>().unwrap()[2].to_f32(), 0.25);
}

#[test]
fn names_come_in_the_order_of_the_bytes() {
    let (_folder, path) = file(
        r#"{"z":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#,
        3,
    );
    assert_eq!(Checkpoint::open(path).unwrap().names(), ["a", "z"]);
}

#[test]
fn a_file_without_tensors_is_a_file() {
    let (_folder, path) = file("{}", 0);
    assert!(Checkpoint::open(path).unwrap().names().is_empty());
}

#[test]
fn empty_tensors_take_no_bytes() {
    let (_folder, path) = file(r#"{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"#, 0);
    assert_eq!(Checkpoint::open(path).unwrap().read("a").unwrap().num_elements(), 0);
}

#[test]
fn attack_empty_file() {
    let (_folder, path) = raw(b"");
    assert!(message(&path).starts_with("is empty"));
}

#[test]
fn attack_truncated() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    assert!(refusal(header, 7).starts_with("is truncated, 69 bytes where its header asks for 70"));
    let (_folder, path) = raw(&[9, 0, 0]);
    assert!(message(&path).starts_with("is truncated"));
    let (_folder, path) = raw(b"\x50\0\0\0\0\0\0\0{\"a\":");
    assert!(message(&path).starts_with("is truncated"));
}

#[test]
fn attack_huge_header() {
    for length in [u64::MAX, 1 << 62, MAX_HEADER + 1] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        let (_folder, path) = raw(&bytes);
        assert!(message(&path).contains("over the format's limit"));
    }
}

#[test]
fn attack_wrong_magic() {
    for (bytes, what) in [
        (&b"GGUF\x03\0\0\0........"[..], "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"{\"r\": 16, \"lora_alpha\": 32}", "JSON"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "unknown format"),
    ] {
        let (_folder, path) = raw(bytes);
        let message = message(&path);
        assert!(message.contains(what) && message.contains("no file of weights"), "{message}");
    }
    // A header of 640 bytes begins like a pickle and is none.
    let header = format!("{:640}", "{}");
    let (_folder, path) = file(&header, 0);
    assert_eq!(fs::read(&path).unwrap()[..2], [0x80, 2]);
    Checkpoint::open(path).unwrap();
}

#[test]
fn attack_not_a_file() {
    let folder = tempdir().unwrap();
    assert!(message(folder.path()).starts_with("is a directory without weights"));
    if cfg!(unix) {
        assert!(message("/dev/null".as_ref()).starts_with("is not a regular file"));
    }
    assert!(message(&folder.path().join("none")).starts_with("cannot be opened"));
}

#[test]
fn attack_json() {
    assert!(refusal("{", 0).contains("EOF"));
    assert!(refusal("{}{}", 0).contains("trailing"));
    assert!(refusal(r#"{"a":[]}"#, 0).contains("\"a\""));
    assert!(refusal("{\"\u{7}\n\":1}", 0).starts_with("its header is invalid"));
    assert!(refusal(r#"{"a":{"dtype":"F99","shape":[],"data_offsets":[0,4]}}"#, 4).contains("F99"));
    assert!(refusal(r#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4).contains("shape"));
    assert!(refusal(r#"{"__metadata__":{"a":1}}"#, 0).contains("__metadata__"));
    let deep = format!(r#"{{"a":{}"#, "[".repeat(100_000));
    assert!(refusal(&deep, 0).starts_with("its header is invalid"));
    let (_folder, path) = raw(b"\x08\0\0\0\0\0\0\0{\"\xff\xfe\":1}");
    assert!(message(&path).starts_with("its header is invalid"));
}

#[test]
fn attack_numbers() {
    for offsets in ["[-1,4]", "[0,18446744073709551616]", "[0.5,4]", "[0]", "[0,4,8]"] {
        let header = format!(r#"{{"k":{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}}}"#);
        assert!(refusal(&header, 4).contains("\"k\""), "{offsets}");
    }
    let header = r#"{"k":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    assert!(refusal(header, 4).contains("\"k\""));
}

#[test]
fn attack_shape_overflow() {
    let header = r#"{"k":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
    assert!(refusal(header, 0).contains("cannot be 0 bytes"));
    let header = r#"{"k":{"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]}}"#;
    assert!(refusal(header, 8).contains("cannot be 8 bytes"));
}

#[test]
fn attack_claimed_size_beyond_the_file() {
    // Consistent with itself, but a terabyte of it is missing: nothing is allocated for it.
    let header = r#"{"k":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}"#;
    assert!(refusal(header, 4).starts_with("is truncated"));
    let header = r#"{"k":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#;
    assert!(refusal(header, 4).contains("cannot be 18446744073709551615 bytes"));
}

#[test]
fn attack_shape_and_offsets_disagree() {
    let header = r#"{"k":{"dtype":"F16","shape":[3],"data_offsets":[0,8]}}"#;
    assert!(refusal(header, 8).starts_with("tensor \"k\" (F16 [3]) cannot be 8 bytes"));
    // 4-bit elements that end within a byte.
    let header = r#"{"k":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#;
    assert!(refusal(header, 1).contains("F4"));
}

#[test]
fn attack_overlapping_offsets() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert!(refusal(header, 6).starts_with("tensor \"b\" lies at bytes 2..6 where 4.. is next"));
    let twice = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    assert!(refusal(twice, 4).contains("lies at bytes 0..4"));
    let backwards = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[0],"data_offsets":[4,2]}}"#;
    assert!(refusal(backwards, 4).contains("4..2"));
}

#[test]
fn attack_gaps_and_trailing_bytes() {
    let gap = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#;
    assert!(refusal(gap, 3).starts_with("tensor \"b\" lies at bytes 2..3 where 1.. is next"));
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    assert!(refusal(header, 6).starts_with("has 5 bytes after its last tensor"));
}

#[test]
fn attack_duplicate_keys() {
    let tensor = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    assert!(refusal(&format!("{{{tensor},{tensor}}}"), 1).contains("key \"a\" appears twice"));
    let field = r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    assert!(refusal(field, 1).contains("duplicate field `dtype`"));
    assert!(refusal(r#"{"__metadata__":{"x":"1","x":"2"}}"#, 0).contains("\"x\" appears twice"));
    assert!(refusal(r#"{"__metadata__":{},"__metadata__":{}}"#, 0).contains("appears twice"));
}

#[test]
fn dtypes_without_an_equal_can_be_copied_but_not_read() {
    let (_folder, path) = file(r#"{"k":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}}"#, 2);
    let file = Checkpoint::open(path).unwrap();
    let message = file.read("k").unwrap_err().to_string();
    assert!(message.contains("tensor \"k\" is F8_E8M0, which is not supported"), "{message}");
    assert_eq!(file.read_bytes("k").unwrap(), [0, 0]);
    assert!(file.read("none").unwrap_err().to_string().ends_with("has no tensor \"none\""));
}

#[test]
fn a_file_that_shrinks_while_open_is_an_error() {
    let (_folder, path) = file(r#"{"k":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 4);
    let open = Checkpoint::open(&path).unwrap();
    fs::write(&path, b"").unwrap();
    assert!(open.read("k").unwrap_err().to_string().contains("reading failed"));
}

proptest! {
    /// Whatever the bytes, opening ends in a value or in one line.
    #[test]
    fn any_bytes_are_survived(length in 0u64..200, header in "\\PC{0,80}", data in 0usize..20) {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        let (_folder, path) = raw(&bytes);
        let _ = Checkpoint::open(path).map_err(|e| assert!(!e.to_string().contains('\n')));
    }

    /// A valid file with one byte changed is read or refused, and what is read has its shape's size.
    #[test]
    fn any_changed_byte_is_survived(at in 0usize..120, value: u8) {
        let header = r#"{"a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 8]);
        bytes[at] = value;
        let (_folder, path) = raw(&bytes);
        if let Ok(file) = Checkpoint::open(path) {
            for name in file.names() {
                let _ = file.read(name);
                prop_assert_eq!(Some(file.read_bytes(name).unwrap().len()), {
                    let info = file.info(name).unwrap();
                    crate::dtype::byte_length(info.dtype, &info.shape)
                });
            }
        }
    }
}
