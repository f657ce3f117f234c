//! Any bytes as an adapter file, of any format: read or refused in one line, never a panic, never
//! memory that the file's size does not account for.

#![no_main]

mod archive;
mod repair;

use std::{alloc::System, fmt::Display, fs, path::PathBuf, sync::LazyLock};

use burn::tensor::{DType, Device, Int, Tensor};
use cap::Cap;
use higanbana_core::{Registry, Site, SiteKind, Tensors};
use higanbana_io::{
    AdapterReader, Checkpoint, Embedding,
    apply::{ModuleReader, Parameter},
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use tempfile::TempDir;

/// Enough for a hundred copies of the longest input in f64; an allocation above it aborts.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, 256 << 20);

fuzz_target!(|bytes: &[u8]| {
    let setting = &*SETTING;
    fs::write(&setting.path, bytes).expect("the temporary folder can be written to");
    setting.read_checkpoint();
    setting.read_adapters();
});

// One file in four stays as broken as the mutation left it.
fuzz_mutator!(|file: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let is_kept = seed.is_multiple_of(4);
    let archive = (!is_kept).then(|| archive::mutate(&file[..size], max_size)).flatten();
    let (size, repaired) = match archive {
        Some(archive) => (size, Some(archive)),
        None => {
            let size = fuzzer_mutate(file, size, max_size);
            (size, (!is_kept).then(|| repair::repair(&file[..size], max_size)).flatten())
        }
    };
    repaired.map_or(size, |repaired| {
        file[..repaired.len()].copy_from_slice(&repaired);
        repaired.len()
    })
});

static SETTING: LazyLock<Setting> = LazyLock::new(Setting::new);

/// What stays the same from file to file.
struct Setting {
    _folder: TempDir,
    path: PathBuf,
    registry: Registry,
    base: Vec<Layer>,
}

/// A layer's weight and bias, each with its value.
type Layer = [(Site, Tensor<2>); 2];

impl Setting {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let path = folder.path().join("adapter.safetensors");
        let registry = higanbana_adapters::registry();
        Self { _folder: folder, path, registry, base: base() }
    }

    fn read_checkpoint(&self) {
        let Some(file) = accepted(Checkpoint::open(&self.path)) else { return };
        for name in file.names() {
            accepted(file.read(name));
            accepted(file.read_bytes(name));
        }
        let embeddings = accepted(Embedding::all(&file)).unwrap_or_default();
        embeddings.iter().for_each(|it| drop(accepted(it.read(&file))));
    }

    fn read_adapters(&self) {
        let Some(reader) = accepted(AdapterReader::open(&self.path, &self.registry)) else {
            return;
        };
        reader.notes().iter().for_each(one_line);
        reader.unused().iter().for_each(one_line);
        let Some(file) = accepted(reader.read_all()) else { return };
        for (name, tensors) in &file.modules {
            self.base.iter().for_each(|layer| self.apply(&reader, name, tensors, layer));
        }
    }

    /// A module read for a layer can be applied to it.
    fn apply(&self, file: &AdapterReader, name: &str, tensors: &Tensors, layer: &Layer) {
        let device = Device::default();
        let (registry, dtype) = (&self.registry, DType::F32);
        let how = ModuleReader { file, registry, device: &device, dtype };
        let parameters = layer.iter().map(|(site, _)| Parameter::new("weight", site.clone()));
        let value = |parameter: &Parameter| {
            let of = layer.iter().find(|(site, _)| *site == parameter.site);
            Ok(of.map(|(_, w0)| w0.clone()))
        };
        let read = how.at_base(name, tensors, parameters.collect(), value);
        let Some(holding) = accepted(read) else { return };
        for resolved in holding.found.iter().filter_map(|found| found.resolved.as_ref()) {
            assert_eq!(resolved.update(1.0).dims(), resolved.w0.dims());
        }
    }
}

fn accepted<T, E: Display>(result: Result<T, E>) -> Option<T> {
    result.inspect_err(one_line).ok()
}

fn one_line(message: &impl Display) {
    let message = message.to_string();
    assert!(!message.contains(['\n', '\r']), "more than one line: {message:?}");
}

/// The layers of LyCORIS's files under `tests/reference`.
fn base() -> Vec<Layer> {
    use SiteKind::*;
    let weights: [(SiteKind, &[usize]); 12] = [
        (Linear, &[24, 20]),
        (Linear, &[36, 36]),
        (Linear, &[12, 24]),
        (Conv1d, &[12, 6, 3]),
        (Conv2d, &[24, 8, 1, 1]),
        (Conv2d, &[12, 8, 3, 3]),
        (Conv2d, &[12, 4, 3, 3]),
        (Conv2d, &[12, 8, 3, 2]),
        (Conv3d, &[12, 4, 2, 1, 3]),
        (Norm, &[24]),
        (Norm, &[12]),
        // Prime sizes, which no factor divides.
        (Linear, &[7, 5]),
    ];
    weights.map(|(kind, shape)| layer(kind, shape)).into()
}

fn layer(kind: SiteKind, shape: &[usize]) -> Layer {
    let bias = if kind == SiteKind::Norm { SiteKind::NormBias } else { SiteKind::Bias };
    [(kind, shape), (bias, &shape[..1])].map(|(kind, shape)| {
        let site = Site::new("layer", kind, shape);
        let (out, cols) = (site.out(), site.cols());
        let values = Tensor::<1, Int>::arange(1..(out * cols + 1) as i64, &Device::default());
        (site, values.float().reshape([out, cols]) / (out * cols) as f64)
    })
}
