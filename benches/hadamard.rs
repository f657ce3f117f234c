//! Memory of the three ways to put a Hadamard update on a linear layer.
//!
//! 16 layers in a row, 1280 to 1280, rank 16, 256 tokens, one training step in `f32`:
//!
//! ```text
//! composed  x (W0 + s (A1 B1) ⊙ (A2 B2))ᵀ from Burn's operations
//! update    the update as one operation, which keeps the four factors
//! linear    the layer as one operation, which keeps its input and the four factors
//! ```
//!
//! Heap that the graph holds after the forward pass, and the peak of the step, both beyond weights,
//! factors and input; a dense weight has 6.6 MB:
//!
//! ```text
//!             graph     peak
//! composed   323 MB   331 MB
//! update     120 MB   131 MB
//! linear      20 MB    39 MB
//! ```
//!
//!     cargo bench -p higanbana --bench hadamard

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use higanbana::core::ops;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LAYERS: usize = 16;
const WIDTH: usize = 1280;
const RANK: usize = 16;
const TOKENS: usize = 256;
const SCALE: f64 = 0.0625;

type Factors = [Tensor<2>; 4];
type Layer = fn(Tensor<2>, Tensor<2>, Factors) -> Tensor<2>;

fn composed(x: Tensor<2>, w0: Tensor<2>, [w1_a, w1_b, w2_a, w2_b]: Factors) -> Tensor<2> {
    let update = w1_a.mul_scalar(SCALE).matmul(w1_b) * w2_a.matmul(w2_b);
    x.matmul((w0 + update).transpose())
}

fn update(x: Tensor<2>, w0: Tensor<2>, factors: Factors) -> Tensor<2> {
    x.matmul((w0 + ops::hadamard_update(factors, SCALE)).transpose())
}

fn linear(x: Tensor<2>, w0: Tensor<2>, factors: Factors) -> Tensor<2> {
    ops::hadamard_linear(x, w0, factors, SCALE)
}

fn main() {
    println!("{:10} {:>10} {:>10} {:>8}", "", "graph", "peak", "step");
    let ways: [(&str, Layer); 3] = [("composed", composed), ("update", update), ("linear", linear)];
    for (name, layer) in ways {
        measure(name, layer);
    }
}

fn measure(name: &str, layer: Layer) {
    let device = Device::flex().autodiff();
    let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.03), &device);
    let x = random([TOKENS, WIDTH]).require_grad();
    let layers: Vec<(Tensor<2>, Factors)> = (0..LAYERS)
        .map(|_| {
            let shapes = [[WIDTH, RANK], [RANK, WIDTH], [WIDTH, RANK], [RANK, WIDTH]];
            (random([WIDTH, WIDTH]), shapes.map(|shape| random(shape).require_grad()))
        })
        .collect();

    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    let start = Instant::now();
    let y = layers.iter().fold(x, |x, (w0, factors)| layer(x, w0.clone(), factors.clone()));
    let graph = MEMORY.current_usage_as_mb() - before;
    let gradients = y.square().sum().backward();
    let step = start.elapsed().as_secs_f64();
    let peak = MEMORY.peak_usage_as_mb() - before;
    drop(gradients);
    println!("{name:10} {graph:>7.0} MB {peak:>7.0} MB {step:>6.2} s");
}
