//! JPEGs, as Pillow reads them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use higanbana_diffusion::pipeline::{Pixels, jpeg};
use higanbana_io::Checkpoint;

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/images")
}

fn errors(a: &[u8], b: &[u8]) -> impl Iterator<Item = f64> {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)))
}

fn rms(a: &[u8], b: &[u8]) -> f64 {
    (errors(a, b).map(|error| error * error).sum::<f64>() / a.len() as f64).sqrt()
}

/// `make_jpeg.py` reads the committed file and compares its steps and its text.
#[test]
fn what_is_written_is_as_close_as_what_pillow_writes() {
    let expected = Checkpoint::open(images().join("jpeg.safetensors")).unwrap();
    let read = |key: &str| -> Vec<u8> { expected.read(key).unwrap().as_bytes().to_vec() };
    let pixels = read("pixels");
    let size = [43, 61];
    let bytes = jpeg(size, &pixels, "a lily, ü").unwrap();
    if fs::read(images().join("written.jpg")).ok().as_ref() != Some(&bytes) {
        let left = env::temp_dir().join("written.jpg");
        fs::write(&left, bytes).unwrap();
        panic!("the encoder has changed: {} is what it writes", left.display());
    }
    let [written, pillow] = ["written", "pillow"].map(read);
    let (ours, theirs) = (rms(&written, &pixels), rms(&pillow, &pixels));
    assert!(ours <= 1.01 * theirs, "{ours} {theirs}");
    // Decoders round otherwise.
    let own = Pixels::decode(Path::new("x"), &bytes).unwrap();
    assert_eq!(own.size, size);
    let furthest = errors(&own.rgb, &written).fold(0.0, f64::max);
    assert!(furthest <= 2.0, "{furthest}");
}
