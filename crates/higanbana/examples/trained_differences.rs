//! Makes `experiments/03-expressivity/trained.json` again: what further training adds to a layer of a small network.
//!
//! ```text
//! cargo run --release -p higanbana --example trained_differences > experiments/03-expressivity/trained.json
//! ```

#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use higanbana::lab::expressivity::trained::train;

const SIZE: usize = 32;

fn main() {
    let differences = (0..5).map(|seed| {
        let entries = train(SIZE, seed, &Device::flex()).to_data();
        let entries = entries.iter::<f64>().map(|x| format!("{x:.5e}")).collect::<Vec<_>>();
        format!("  [{}]", entries.join(", "))
    });
    let differences = differences.collect::<Vec<_>>().join(",\n");
    println!("{{\n\"size\": {SIZE},\n\"differences\": [\n{differences}\n]\n}}");
}
