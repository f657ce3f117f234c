//! Every algorithm of the registry keeps every law.

use burn::tensor::{DType, Device};
use higanbana::{
    adapters::registry,
    laws::{self, Law},
};
use proptest::test_runner::{TestCaseError, TestRunner};

use super::trials::{any_trial, config};

/// The law of this name: at the standard layers, and at random ones.
fn holds(name: &str) {
    let law = std::slice::from_ref(Law::named(name).expect("a law of this name"));
    let (registry, device) = (registry(), Device::flex());
    let standard = laws::Trial::standard();
    let violations: Vec<_> = standard
        .iter()
        .flat_map(|trial| laws::check(law, &registry, trial, &device, DType::F64))
        .collect();
    assert!(violations.is_empty(), "\n{}", laws::list(&violations));

    let verdict = TestRunner::new(config()).run(&any_trial(), |trial| {
        let violations = laws::check(law, &registry, &trial, &device, DType::F64);
        if violations.is_empty() {
            Ok(())
        } else {
            Err(TestCaseError::fail(laws::list(&violations)))
        }
    });
    if let Err(error) = verdict {
        panic!("{error}");
    }
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
fn single_precision() {
    let violations = laws::battery(&registry(), &Device::flex(), DType::F32);
    assert!(violations.is_empty(), "\n{}", laws::list(&violations));
}

#[test]
fn every_algorithm_is_covered() {
    let violations = laws::coverage(&registry(), &Device::flex(), DType::F64);
    assert!(violations.is_empty(), "\n{}", laws::list(&violations));
}
