//! The same laws on `wgpu`, in `f32`, at the standard layers.

use burn::tensor::{DType, Device};
use higanbana::{
    adapters::registry,
    core::device::device,
    laws::{self, Law, Trial, Violation},
};

fn wgpu() -> Device {
    device("wgpu").expect("this build has it")
}

fn assert_none(violations: &[Violation]) {
    assert!(violations.is_empty(), "\n{}", laws::list(violations));
}

fn holds(name: &str) {
    let (law, device) = (Law::named(name).expect("a law of this name"), wgpu());
    let violations: Vec<_> = Trial::standard()
        .iter()
        .flat_map(|trial| laws::check(&[*law], &registry(), trial, &device, DType::F32))
        .collect();
    assert_none(&violations);
}

macro_rules! tests {
    ($($law:ident)*) => {
        $(#[test]
        fn $law() {
            holds(stringify!($law));
        })*
    };
}

higanbana::for_each_law!(tests);

#[test]
fn every_algorithm_is_covered() {
    assert_none(&laws::coverage(&registry(), &wgpu(), DType::F32));
}
