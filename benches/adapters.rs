//! One adapted layer at Stable Diffusion 1.5's shapes: forward, and forward with backward, of every
//! algorithm on both forward paths. Before the timings, the memory that a forward pass keeps for its
//! backward.
//!
//! `cargo bench -p higanbana --bench adapters -- linear/forward/lora/` runs a part. A filter with a colon
//! in it, as in `-- lokr:tucker`, brings in the sets of options that algorithms name.

#![allow(clippy::print_stdout)]

use std::hint::black_box;

use burn::{
    module::Module,
    nn,
    tensor::{Device, Distribution, Tensor},
};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use higanbana::{
    adapters::layers::{Conv2d, Linear, set_path},
    core::slot,
    prelude::*,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A layer with its input.
trait Bench: Module {
    const NAME: &'static str;
    type Input: Clone;
    fn new(device: &Device) -> Self;
    fn input(device: &Device) -> Self::Input;
    fn run(&self, x: Self::Input) -> Tensor<1>;
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The query projection of the 64×64 level: 4096 tokens, 320 → 320.
impl Bench for Linear {
    const NAME: &'static str = "linear";
    type Input = Tensor<3>;

    fn new(device: &Device) -> Self {
        nn::LinearConfig::new(320, 320).init(device).into()
    }
    fn input(device: &Device) -> Tensor<3> {
        random([1, 4096, 320], device)
    }
    fn run(&self, x: Tensor<3>) -> Tensor<1> {
        self.forward(x).sum()
    }
}

/// A residual block's convolution of the 32×32 level: 640 → 640, 3×3.
impl Bench for Conv2d {
    const NAME: &'static str = "conv";
    type Input = Tensor<4>;

    fn new(device: &Device) -> Self {
        let config = nn::conv::Conv2dConfig::new([640, 640], [3, 3])
            .with_padding(nn::PaddingConfig2d::Explicit(1, 1, 1, 1));
        config.init(device).into()
    }
    fn input(device: &Device) -> Tensor<4> {
        random([1, 640, 32, 32], device)
    }
    fn run(&self, x: Tensor<4>) -> Tensor<1> {
        self.forward(x).sum()
    }
}

/// The norm before that projection.
impl Bench for nn::LayerNorm {
    const NAME: &'static str = "norm_layer";
    type Input = Tensor<3>;

    fn new(device: &Device) -> Self {
        nn::LayerNormConfig::new(320).init(device)
    }
    fn input(device: &Device) -> Tensor<3> {
        random([1, 4096, 320], device)
    }
    fn run(&self, x: Tensor<3>) -> Tensor<1> {
        self.forward(x).sum()
    }
}

/// An adapted layer on one of its forward paths.
struct Case<L> {
    name: String,
    path: PathChoice,
    layer: L,
}

fn layer<L: Bench>(criterion: &mut Criterion) {
    let (inference, training) = (Device::flex(), Device::flex().autodiff());
    let cases = cases::<L>(&training);
    for step in [false, true] {
        let (what, device) = if step { ("step", &training) } else { ("forward", &inference) };
        let mut group = criterion.benchmark_group(format!("{}/{what}", L::NAME));
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        let x = L::input(device);
        for Case { name, path, layer } in &cases {
            let layer = if step { layer.clone() } else { layer.valid() };
            group.bench_function(BenchmarkId::new(name, format!("{path:?}")), |bencher| {
                bencher.iter(|| {
                    let y = layer.run(x.clone());
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

/// Every algorithm that adapts the layer, with a table of the memory that each takes.
fn cases<L: Bench>(device: &Device) -> Vec<Case<L>> {
    let (base, x) = (L::new(device), L::input(device));
    println!("{:28} {:>12} {:>10} {:>10}", L::NAME, "path", "kept MB", "peak MB");
    let mut cases = Vec::new();
    for (name, kind, options) in sets(&registry()) {
        let injection = Injection::new("bench", kind).options(options);
        let Ok((model, _)) = inject(&base, &registry(), &injection) else {
            println!("{name:28} does not adapt this layer");
            continue;
        };
        for path in [PathChoice::Definition, PathChoice::Shortcut] {
            if path == PathChoice::Shortcut && !has_shortcut(&model) {
                println!("{name:28} {:>12} {:>10} {:>10}", format!("{path:?}"), "none", "none");
                continue;
            }
            let layer = set_path(model.clone(), path);
            let (kept, peak) = memory(&layer, &x);
            println!("{name:28} {:>12} {kept:10.1} {peak:10.1}", format!("{path:?}"));
            cases.push(Case { name: name.clone(), path, layer });
        }
    }
    cases
}

/// Every algorithm with rank 16 where it has a rank; the other sets of options too, where the command
/// line asks for one, as `lokr:` does: they are three times as many.
fn sets(registry: &Registry) -> Vec<(String, &'static str, toml::Table)> {
    let variants = std::env::args().any(|argument| argument.contains(':'));
    let named = |kind: &Kind| {
        let variants = kind.variants().iter().filter(|_| variants);
        let variants = variants.map(|v| (format!("{}:{}", kind.name(), v.name), v.options));
        std::iter::once((kind.name().to_string(), "")).chain(variants).collect::<Vec<_>>()
    };
    registry
        .iter()
        .flat_map(|kind| named(kind).into_iter().map(move |set| (kind, set)))
        .map(|(kind, (name, options))| {
            let mut options: toml::Table = options.parse().expect("a variant is written in TOML");
            if kind.defaults().contains_key("rank") {
                options.entry("rank").or_insert(16.into());
            }
            (name, kind.name(), options)
        })
        .collect()
}

fn has_shortcut<M: Module>(model: &M) -> bool {
    let slots = slot::collect(model);
    slots
        .iter()
        .all(|slot| slot.active().all(|member| member.adapter.cost(&slot.site, 1).is_some()))
}

/// Megabytes that a forward pass keeps for its backward, and the peak of both.
fn memory<L: Bench>(layer: &L, x: &L::Input) -> (f64, f64) {
    drop(layer.run(x.clone()).backward());
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    let y = layer.run(x.clone());
    let kept = MEMORY.current_usage_as_mb() - before;
    drop(y.backward());
    (f64::from(kept), f64::from(MEMORY.peak_usage_as_mb() - before))
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    layer::<Linear>(&mut criterion);
    layer::<Conv2d>(&mut criterion);
    layer::<nn::LayerNorm>(&mut criterion);
    criterion.final_summary();
}
