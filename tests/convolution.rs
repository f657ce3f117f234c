//! What a convolution of a small model holds in memory: its results, and little more.

use burn::tensor::{DType, Device, Distribution, Tensor, ops::ConvOptions};
use higanbana::core::ops::conv2d;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MB: usize = 1 << 20;

/// The peak beyond what was there before.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    drop(work());
    MEMORY.peak_usage() - before
}

/// Maps of 2 MB. Columns of their pixels under nine taps would be 18 MB, of which 8 at a time.
#[test]
fn a_convolution_of_few_channels_makes_no_columns() {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 4]| {
        Tensor::<4>::random(shape, Distribution::Default, (&device, DType::F32)).require_grad()
    };
    let (x, weight) = (random([16, 32, 32, 32]), random([32, 32, 3, 3]));
    let y = || {
        let options = ConvOptions::new_with_padding([1, 1], [(1, 1), (1, 1)], [1, 1], 1);
        conv2d(x.clone(), weight.clone(), None, options)
    };
    // The first use makes the threads.
    drop(y());
    // Measured on 1 to 16 threads: 2.2 and 4.7 MB; each thread may hold 0.1 MB more.
    let forward = peak(y);
    assert!(forward < 4 * MB, "{forward} bytes");
    let y = y();
    let backward = peak(|| y.sum().backward());
    assert!(backward < 7 * MB, "{backward} bytes");
}
