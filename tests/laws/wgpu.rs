//! The same laws on `wgpu`, in `f32`, at the standard layers.

use burn::tensor::{DType, Device};
use higanbana::{
    adapters::registry,
    core::device::device,
    lab::{
        conformance::{self, CASES},
        gamma::{Question, Subject},
    },
    laws::{self, Law, Trial, Violation},
    train::{optimizers, precision::Precision},
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

#[test]
fn operations_are_within_rounding_of_the_cpu() {
    for case in CASES {
        let deviation = conformance::compare(case, &wgpu(), DType::F32);
        assert!(deviation.is_rounding(DType::F32), "{deviation:?}");
    }
    let training = conformance::training(&registry(), &wgpu(), DType::F32).unwrap();
    assert!(training.is_rounding(DType::F32), "{training:?}");
}

#[test]
fn a_type_that_the_device_lacks_is_refused() {
    let error = Precision::Bf16.on(&wgpu()).unwrap_err().to_string();
    assert_eq!(error, "RUN.toml: train.dtype: this device does not compute in bf16; leave it out");
}

#[test]
fn law_01_holds_within_rounding() {
    let registry = registry();
    let subjects = Subject::all(&registry);
    let plain = subjects.iter().filter(|subject| !subject.is_variant());
    for (subject, rule) in plain.zip(optimizers().iter().step_by(2)).take(5) {
        for gamma in [subject.dyadic_gamma(&registry).unwrap(), 0.3] {
            let question = Question::new(subject, rule, gamma);
            let question = Question { dtype: DType::F32, steps: 4, ..question };
            let answer = question.answer(&registry, &wgpu()).unwrap();
            let deviation = answer.deviation;
            println!("{} × {}, gamma {gamma}: {deviation:.1e}", subject.label, rule.name);
            assert!(deviation < 1e-5 && answer.bound.is_none(), "{answer:?}");
        }
    }
}
