//! The laws that every adapter keeps, for the algorithms of this toolkit and for your own.
//!
//! A [`Law`] is checked on a [`Subject`]: one adapter, fresh and with random trained values, on one
//! layer. [`battery`] goes through every algorithm of a registry, every kind of parameter that it
//! adapts and every set of options that it names, and says which law is broken where, and by how
//! much.
//!
//! ```
//! use burn::tensor::{DType, Device};
//! use higanbana::{laws, prelude::*};
//!
//! let registry = Registry::empty(); // .with::<YourAdapter>()
//! let violations = laws::battery(&registry, &Device::default(), DType::F64);
//! assert!(violations.is_empty(), "{}", laws::list(&violations));
//! ```
//!
//! Every tolerance is a small multiple of the rounding error of the element type, so that a law
//! means the same in `f32` and in `f64`. Prefer `f64` where the device has it.

mod alpha;
mod coverage;
mod dropout;
mod files;
mod gradient;
mod homogeneity;
mod identity;
mod layer;
mod layers;
mod measure;
mod merge;
mod misfit;
mod operations;
mod parameters;
mod paths;
mod pointwise;
mod rank;
mod rotation;
mod samples;
mod seed;
mod stack;
mod strength;
mod subject;
mod sum;
#[cfg(test)]
mod tests;
mod trial;

use std::fmt::Write;

use burn::tensor::{DType, Device};
use higanbana_core::Registry;
use higanbana_lab::panics::caught;

pub use coverage::coverage;
pub use subject::Subject;
pub use trial::{Geometry, Trial};

/// A property that every adapter has.
#[derive(Debug, Clone, Copy)]
pub struct Law {
    /// Name.
    pub name: &'static str,
    /// What holds.
    pub statement: &'static str,
    check: fn(&Subject) -> Result<(), String>,
}

impl Law {
    /// The law of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        LAWS.iter().find(|law| law.name == name)
    }

    /// Checks the law on one adapter. A panic of the adapter counts as a violation.
    ///
    /// # Errors
    /// When it is broken.
    pub fn check(&self, subject: &Subject) -> Result<(), Violation> {
        let verdict = caught(|| (self.check)(subject)).and_then(|verdict| verdict);
        verdict.map_err(|reason| self.violation(subject.to_string(), reason))
    }

    fn violation(&self, subject: String, reason: String) -> Violation {
        Violation { law: self.name, subject, reason }
    }
}

/// Hands the names of all laws to a macro of yours: `for_each_law!(tests)` is
/// `tests! { seed identity ... }`. A law is a module with a constant `LAW`, and a name here.
#[macro_export]
macro_rules! for_each_law {
    ($macro:ident) => {
        $macro! {
            seed identity strength stack paths samples gradient merge layers dropout files
            misfit parameters rank rotation homogeneity pointwise sum alpha
        }
    };
}

macro_rules! list {
    ($($name:ident)*) => {
        /// Every law.
        pub const LAWS: &[Law] = &[$($name::LAW),*];
    };
}

for_each_law!(list);

/// A law that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law}: {subject}: {reason}")]
pub struct Violation {
    /// Name of the law.
    pub law: &'static str,
    /// The adapter, its options and its layer.
    pub subject: String,
    /// What is wrong, in numbers.
    pub reason: String,
}

/// Checks every law on every algorithm of `registry` at fixed small shapes.
pub fn battery(registry: &Registry, device: &Device, dtype: DType) -> Vec<Violation> {
    let mut violations = coverage(registry, device, dtype);
    for trial in Trial::standard() {
        violations.extend(check(LAWS, registry, &trial, device, dtype));
    }
    violations
}

/// Checks `laws` on every algorithm and set of options of `registry` that fits one trial. A set
/// that the constructor refuses with a reason is passed over: [`coverage`] sees to the rest.
pub fn check(
    laws: &[Law],
    registry: &Registry,
    trial: &Trial,
    device: &Device,
    dtype: DType,
) -> Vec<Violation> {
    Subject::all(registry, trial, device, dtype)
        .flat_map(|subject| match subject {
            Ok(subject) => laws.iter().filter_map(|law| law.check(&subject).err()).collect(),
            Err(violation) => vec![violation],
        })
        .collect()
}

/// Violations, one a line.
pub fn list(violations: &[Violation]) -> String {
    violations.iter().fold(String::new(), |mut text, violation| {
        let _ = writeln!(text, "{violation}");
        text
    })
}
