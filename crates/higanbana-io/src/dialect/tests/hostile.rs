//! Files that were damaged or made up: read or refused in one line, never a panic.

use burn::tensor::{DType, Device, Tensor};
use higanbana_core::{Registry, Site, SiteKind};
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::{
    AdapterReader, Checkpoint,
    apply::{ModuleReader, Parameter},
};

/// Reads all there is, and applies it to a few layers of LyCORIS's files.
fn read(path: &Path, registry: &Registry) {
    if let Some(file) = accepted(Checkpoint::open(path)) {
        file.names().iter().for_each(|name| drop(accepted(file.read(name))));
    }
    let Some(reader) = accepted(AdapterReader::open(path, registry)) else { return };
    let file = accepted(reader.read_all());
    let device = Device::default();
    for (name, tensors) in file.iter().flat_map(|file| &file.modules) {
        for site in [
            Site::new("layer", SiteKind::Linear, [24, 20]),
            Site::new("layer", SiteKind::Conv2d, [12, 8, 3, 3]),
            Site::new("layer", SiteKind::Norm, [24]),
        ] {
            let w0 = Tensor::ones([site.out(), site.cols()], &device);
            let how = ModuleReader { file: &reader, registry, device: &device, dtype: DType::F32 };
            let parameters = vec![Parameter::new("layer.weight", site)];
            let read = how.at_base(name, tensors, parameters, |_| Ok(Some(w0.clone())));
            let found = accepted(read).into_iter().flat_map(|holding| holding.found);
            for resolved in found.filter_map(|found| found.resolved) {
                assert_eq!(resolved.update(1.0).dims(), w0.dims());
            }
        }
    }
}

fn accepted<T, E: fmt::Display>(result: Result<T, E>) -> Option<T> {
    result.map_err(|error| assert!(!error.to_string().contains(['\n', '\r']), "{error}")).ok()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// Files made by hand, and what the fuzz target has found.
#[test]
fn every_seed_is_survived() {
    let registry = higanbana_adapters::registry();
    let seeds = files("fuzz/seeds");
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| read(seed, &registry));
}

/// What headers are made of.
const CHARACTERS: &[u8] = b"0123456789[]{},:\"\\abwFI._";

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A few characters of LyCORIS's headers, and of the data behind them, replaced by others that
    /// headers are made of.
    #[test]
    fn damage_is_survived(
        file: prop::sample::Index,
        edits in prop::collection::vec((0usize..2000, prop::sample::select(CHARACTERS)), 1..4),
    ) {
        let mut files = files("../../tests/reference/lycoris");
        files.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
        let mut bytes = fs::read(file.get(&files)).unwrap();
        for (at, byte) in edits {
            let at = 8 + at % (bytes.len() - 8);
            bytes[at] = byte;
        }
        let folder = tempdir().unwrap();
        let path = folder.path().join("adapter.safetensors");
        fs::write(&path, bytes).unwrap();
        read(&path, &higanbana_adapters::registry());
    }
}
