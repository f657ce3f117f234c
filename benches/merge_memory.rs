//! Peak memory of merging an adapter into a base of 5 GB, the size of SDXL's UNet in `f16`.
//!
//! The base is a sparse file of zeros; the result takes 5 GB in the folder for temporary files
//! (`TMPDIR`). Every layer has 100 MB, and a tenth of them is adapted, by the
//! first algorithm of the registry. Measured: 604 MB.
//!
//!     cargo bench -p higanbana --bench merge_memory

#![allow(clippy::print_stdout)]

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use burn::tensor::{DType, Device, Tensor};
use higanbana::{
    adapters::registry,
    core::{Init, Registry, Site, SiteKind, Tensors},
    io::{Merge, Source},
};
use peak_alloc::PeakAlloc;
use serde_json::json;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Rows and columns of a layer: 100 MB in `f16`.
const SHAPE: [usize; 2] = [5120, 10240];
const LAYERS: usize = 50;
const ADAPTED: usize = 5;
/// What a merge may take.
const BOUND: f32 = 2048.0;

fn main() -> Result<()> {
    // A test run asks for nothing of 5 GB.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let [base, adapter, out] = ["base", "adapter", "out"].map(|name| folder.path().join(name));
    sparse(&base, (0..LAYERS).map(|i| (format!("layer_{i}.weight"), SHAPE.to_vec())))?;
    let (registry, device) = (registry(), Device::flex());
    let tensors = adapter_tensors(&registry, &device)?;
    let keys = (0..ADAPTED).flat_map(|i| {
        tensors.iter().map(move |(key, data)| (format!("layer_{i}.{key}"), data.shape().to_vec()))
    });
    sparse(&adapter, keys)?;

    MEMORY.reset_peak_usage();
    let (before, start) = (MEMORY.current_usage_as_mb(), Instant::now());
    let sources = [Source { path: adapter, strength: 1.0.into() }];
    let merge = Merge::plan(&base, &sources, &registry, &device, DType::F32)?;
    ensure!(merge.changed() == ADAPTED, "{} layers are adapted", merge.changed());
    merge.write(&out, false, |_| ())?;
    let peak = MEMORY.peak_usage_as_mb() - before;
    println!(
        "base {:.1} GB, peak of the heap {peak:.0} MB{}, {:.0} s",
        fs::metadata(&base)?.len() as f64 / 1e9,
        resident().map_or(String::new(), |line| format!(", of the process {line}")),
        start.elapsed().as_secs_f64()
    );
    ensure!(peak < BOUND, "more than {BOUND} MB");
    Ok(())
}

/// The tensors of one layer's adapter.
fn adapter_tensors(registry: &Registry, device: &Device) -> Result<Tensors> {
    let kind = registry.iter().next().context("there is an algorithm")?;
    let site = Site::new("layer", SiteKind::Linear, SHAPE);
    let mut init = Init::new(&site, Tensor::zeros(SHAPE, device), 0);
    Ok(kind.build(&site, &toml::toml! { rank = 16 }, &mut init)?.write(&site))
}

/// A safetensors file of zeros in `f16` that takes no room.
fn sparse(path: &Path, tensors: impl Iterator<Item = (String, Vec<usize>)>) -> Result<()> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let info = json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] });
        header.insert(name, info);
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = File::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    file.set_len((8 + header.len() + end) as u64)?;
    Ok(())
}

/// The peak of resident memory, where Linux tells.
fn resident() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().into())
}
