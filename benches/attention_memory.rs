//! Memory of a training step of attention: 4096 positions, eight heads, 320 wide.
//!
//! ```text
//! composed  Burn's attention under autodiff, which keeps the scores of all heads
//! fused     as one operation, which keeps its inputs
//! ```
//!
//! Resident memory that the graph adds, and the peak of the step, beyond the inputs:
//!
//! ```text
//!             graph      peak
//! composed  1582 MB   2112 MB
//! fused        8 MB     31 MB
//! ```
//!
//!     cargo bench -p higanbana --bench attention_memory

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, module, ops::AttentionModuleOptions};
use higanbana::core::ops;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const TOKENS: usize = 4096;
const HEADS: usize = 8;
const WIDTH: usize = 320;

type Attention = fn([Tensor<3>; 3]) -> Tensor<3>;

fn composed(qkv: [Tensor<3>; 3]) -> Tensor<3> {
    let [q, k, v] = qkv.map(|x| x.reshape([1, TOKENS, HEADS, WIDTH / HEADS]).swap_dims(1, 2));
    let y = module::attention(q, k, v, None, None, AttentionModuleOptions::default());
    y.swap_dims(1, 2).reshape([1, TOKENS, WIDTH])
}

fn fused(qkv: [Tensor<3>; 3]) -> Tensor<3> {
    ops::attention(qkv, HEADS, false)
}

fn main() {
    // A test run asks for nothing of 3 GB.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{:10} {:>10} {:>10} {:>8}", "", "graph", "peak", "step");
    let ways: [(&str, Attention); 2] = [("composed", composed), ("fused", fused)];
    for (name, attention) in ways {
        measure(name, attention);
    }
}

fn measure(name: &str, attention: Attention) {
    let device = Device::flex().autodiff();
    let qkv = [(); 3].map(|_| {
        let normal = Distribution::Normal(0.0, 1.0);
        Tensor::<3>::random([1, TOKENS, WIDTH], normal, &device).require_grad()
    });
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage_as_mb();
    let start = Instant::now();
    let y = attention(qkv);
    let graph = MEMORY.current_usage_as_mb() - before;
    let gradients = y.sum().backward();
    let step = start.elapsed().as_secs_f64();
    let peak = MEMORY.peak_usage_as_mb() - before;
    drop(gradients);
    println!("{name:10} {graph:>7.0} MB {peak:>7.0} MB {step:>6.2} s");
}
