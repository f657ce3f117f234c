//! Faults that give what is no number, alike on every path: no comparison of two of them may pass.

use burn::tensor::Tensor;
use higanbana::{adapters::algorithms::lora::Lora, prelude::*};

use super::{Fault, Mutant};

/// The laws that compare numbers.
const ALL: [&str; 17] = [
    "identity",
    "strength",
    "stack",
    "paths",
    "samples",
    "gradient",
    "merge",
    "layers",
    "dropout",
    "files",
    "rank",
    "rotation",
    "homogeneity",
    "pointwise",
    "sum",
    "alpha",
    "coverage",
];

/// Multiplies whatever the adapter adds.
macro_rules! multiplied {
    ($name:ident by $factor:expr) => {
        fault! {
            $name breaks ALL,
            fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
                mutant.inner.update(site, w0).mul_scalar($factor)
            }
            fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
                mutant.inner.added(call, y0).map(|added| added.mul_scalar($factor))
            }
            fn sum(site: &Site, terms: &[(f64, &Lora)]) -> Option<Lora> {
                Lora::sum(site, terms)
            }
            fn with_alpha(inner: &Lora, alpha: f64) -> Option<Lora> {
                inner.with_alpha(alpha)
            }
        }
    };
}

multiplied! { GivesNan by f64::NAN }
multiplied! { GivesInfinity by f64::INFINITY }

// The root of 0 has the value 0 and no derivative.
fault! {
    LosesGradient breaks ["paths", "gradient"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let update = mutant.inner.update(site, w0);
        update.clone() + (update.clone() - update.detach()).sqrt()
    }
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        let root = |x: Features| match x {
            Features::Rows { x, batch } => {
                Features::Rows { x: x.clone() + (x.clone() - x.detach()).sqrt(), batch }
            }
            Features::Maps(x) => Features::Maps(x.clone() + (x.clone() - x.detach()).sqrt()),
        };
        mutant.inner.added(call, y0).map(root)
    }
}
