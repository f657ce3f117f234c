//! Memory of the three ways to put a LoHa on a linear layer.
//!
//! 16 layers in a row, 1280 to 1280, rank 16, 256 tokens, one training step in `f32`:
//!
//! ```text
//! composed     x (W0 + s (A1 B1) ⊙ (A2 B2))ᵀ from Burn's operations
//! loha_update  the update as one operation, which keeps the four factors
//! loha_linear  the layer as one operation, which keeps its input and the four factors
//! ```
//!
//! Each way runs in a process of its own, which reads its resident memory from Linux's
//! `/proc/self/status`: what the graph holds after the forward pass, and the peak of the whole step,
//! both beyond weights, factors and input. On the CPU backend, with a dense weight of 6.6 MB:
//!
//! ```text
//!                  graph      peak
//! composed        339 MB    342 MB
//! loha_update     128 MB    133 MB
//! loha_linear      23 MB     36 MB
//! ```
//!
//!     cargo run --release -p higanbana-core --example loha_memory

use std::{env, fs, process::Command, time::Instant};

use burn::tensor::{Device, Distribution, Tensor};
use higanbana_core::ops;

const LAYERS: usize = 16;
const WIDTH: usize = 1280;
const RANK: usize = 16;
const TOKENS: usize = 256;
const SCALE: f64 = 0.0625;

type Factors = [Tensor<2>; 4];
type Layer = fn(Tensor<2>, Tensor<2>, Factors) -> Tensor<2>;

const WAYS: [(&str, Layer); 3] =
    [("composed", composed), ("loha_update", with_update), ("loha_linear", fused)];

fn composed(x: Tensor<2>, w0: Tensor<2>, [w1_a, w1_b, w2_a, w2_b]: Factors) -> Tensor<2> {
    let update = w1_a.mul_scalar(SCALE).matmul(w1_b) * w2_a.matmul(w2_b);
    x.matmul((w0 + update).transpose())
}

fn with_update(x: Tensor<2>, w0: Tensor<2>, factors: Factors) -> Tensor<2> {
    x.matmul((w0 + ops::loha_update(factors, SCALE)).transpose())
}

fn fused(x: Tensor<2>, w0: Tensor<2>, factors: Factors) -> Tensor<2> {
    ops::loha_linear(x, w0, factors, SCALE)
}

fn main() {
    if let Some(way) = env::args().nth(1) {
        let (name, layer) = WAYS.into_iter().find(|(name, _)| *name == way).expect("a way");
        return measure(name, layer);
    }
    println!("{:12} {:>9} {:>9} {:>9}", "", "graph", "peak", "step");
    for (name, _) in WAYS {
        let program = env::current_exe().expect("this program");
        let status = Command::new(program).arg(name).status().expect("it runs");
        assert!(status.success(), "{name} failed");
    }
}

fn measure(name: &str, layer: Layer) {
    let device = Device::default().autodiff();
    let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.03), &device);
    let x = random([TOKENS, WIDTH]).require_grad();
    let layers: Vec<(Tensor<2>, Factors)> = (0..LAYERS)
        .map(|_| {
            let shapes = [[WIDTH, RANK], [RANK, WIDTH], [WIDTH, RANK], [RANK, WIDTH]];
            (random([WIDTH, WIDTH]), shapes.map(|shape| random(shape).require_grad()))
        })
        .collect();
    // What the first matrix product sets up once stays out of the figures.
    let _ = random([64, 64]).matmul(random([64, 64])).into_data();

    let before = resident("VmRSS");
    let start = Instant::now();
    let y = layers.iter().fold(x, |x, (w0, factors)| layer(x, w0.clone(), factors.clone()));
    let graph = resident("VmRSS") - before;
    let gradients = y.square().sum().backward();
    let step = start.elapsed();
    let peak = resident("VmHWM") - before;
    drop(gradients);
    println!("{name:12} {graph:>6.0} MB {peak:>6.0} MB {:>6.2} s", step.as_secs_f64());
}

/// A line of Linux's account of this process, in MB.
fn resident(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("the line");
    let kib: f64 = value.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib * 1024.0 / 1e6
}
