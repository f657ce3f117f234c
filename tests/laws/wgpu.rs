//! The same laws on `wgpu`, in `f32`, at the standard layers.

use burn::tensor::DType;
use higanbana::{
    adapters::registry,
    core::device::device,
    laws::{self, Law, Trial},
};

fn holds(name: &str) {
    let law = Law::named(name).expect("a law of this name");
    let device = device("wgpu").expect("this build has it");
    let violations: Vec<_> = Trial::standard()
        .iter()
        .flat_map(|trial| laws::check(&[*law], &registry(), trial, &device, DType::F32))
        .collect();
    assert!(violations.is_empty(), "\n{}", laws::list(&violations));
}

macro_rules! laws {
    ($($test:ident $law:ident)*) => {
        $(#[test]
        fn $test() {
            holds(stringify!($law));
        })*
    };
}

laws! {
    wgpu_seed seed
    wgpu_identity identity
    wgpu_strength strength
    wgpu_stack stack
    wgpu_paths paths
    wgpu_samples samples
    wgpu_gradient gradient
    wgpu_merge merge
    wgpu_layers layers
    wgpu_dropout dropout
    wgpu_files files
    wgpu_parameters parameters
    wgpu_rank rank
    wgpu_homogeneity homogeneity
    wgpu_pointwise pointwise
}
