//! One adapted layer at Stable Diffusion 1.5's shapes: forward, and forward with backward, of every
//! algorithm on both forward paths. Before the timings, the memory that a forward pass keeps for its
//! backward.
//!
//! `cargo bench -p higanbana --bench adapters -- linear/lora` runs a part.

use std::hint::black_box;

use burn::{
    module::Module,
    nn,
    tensor::{Device, Distribution, Tensor},
};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use higanbana::{
    adapters::{
        inject::{Injection, inject},
        layers::{Conv2d, Linear, set_path},
    },
    prelude::*,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A layer with its input.
trait Bench: Module {
    const NAME: &'static str;
    fn new(device: &Device) -> Self;
    fn run(&self, device: &Device) -> Tensor<1>;
}

/// The query projection of the 64×64 level: 4096 tokens, 320 → 320.
impl Bench for Linear {
    const NAME: &'static str = "linear";

    fn new(device: &Device) -> Self {
        nn::LinearConfig::new(320, 320).init(device).into()
    }

    fn run(&self, device: &Device) -> Tensor<1> {
        let x = Tensor::random([1, 4096, 320], Distribution::Normal(0.0, 1.0), device);
        self.forward::<3>(x).sum()
    }
}

/// A residual block's convolution of the 32×32 level: 640 → 640, 3×3.
impl Bench for Conv2d {
    const NAME: &'static str = "conv";

    fn new(device: &Device) -> Self {
        let config = nn::conv::Conv2dConfig::new([640, 640], [3, 3])
            .with_padding(nn::PaddingConfig2d::Explicit(1, 1, 1, 1));
        config.init(device).into()
    }

    fn run(&self, device: &Device) -> Tensor<1> {
        let x = Tensor::random([1, 640, 32, 32], Distribution::Normal(0.0, 1.0), device);
        self.forward(x).sum()
    }
}

fn layer<L: Bench>(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    let base = L::new(&device);
    println!("{:24} {:>12} {:>10} {:>10}", L::NAME, "path", "kept MB", "peak MB");
    let mut cases = Vec::new();
    for kind in registry().iter() {
        let injection = Injection::new("bench", kind.name()).options(options(kind));
        let Ok((model, _)) = inject(&base, &registry(), &injection) else {
            println!("{:24} does not adapt this layer", kind.name());
            continue;
        };
        for path in [PathChoice::Definition, PathChoice::Shortcut] {
            let model = set_path(model.clone(), path);
            let (kept, peak) = memory(&model, &device);
            println!("{:24} {:>12} {kept:10.1} {peak:10.1}", kind.name(), format!("{path:?}"));
            cases.push((kind.name(), path, model));
        }
    }
    for step in [false, true] {
        let what = if step { "step" } else { "forward" };
        let mut group = criterion.benchmark_group(format!("{}/{what}", L::NAME));
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        for (name, path, model) in &cases {
            let (model, device) = if step {
                (model.clone(), device.clone())
            } else {
                (model.valid(), Device::flex())
            };
            group.bench_function(BenchmarkId::new(*name, format!("{path:?}")), |bencher| {
                bencher.iter(|| {
                    let y = model.run(&device);
                    if step {
                        drop(black_box(y.backward()))
                    } else {
                        drop(black_box(y.into_data()))
                    }
                })
            });
        }
    }
}

/// Rank 16 where an algorithm has a rank.
fn options(kind: &Kind) -> toml::Table {
    let mut options = toml::Table::new();
    if kind.defaults().contains_key("rank") {
        options.insert("rank".into(), 16.into());
    }
    options
}

/// Megabytes that a forward pass keeps for its backward, and the peak of both.
fn memory<L: Bench>(model: &L, device: &Device) -> (f64, f64) {
    drop(model.run(device).backward());
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    let y = model.run(device);
    let kept = MEMORY.current_usage_as_mb() - before;
    drop(y.backward());
    (f64::from(kept), f64::from(MEMORY.peak_usage_as_mb() - before))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    layer::<Linear>(&mut criterion);
    layer::<Conv2d>(&mut criterion);
    criterion.final_summary();
}
