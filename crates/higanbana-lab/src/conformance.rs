//! Does a device compute what the CPU computes in double precision?
//!
//! Every operation that the models and adapters are made of, once, on small seeded inputs: its value, and
//! the gradient of $\langle y, \bar y\rangle$ with respect to every input for a random $\bar y$. Compared
//! with the CPU in `f64`,
//! $$\frac{\lVert y - y_{64} \rVert_F}{\lVert y_{64} \rVert_F},$$
//! which has to be of the size of the type's rounding. Last comes a short training of an adapter, where all of
//! it works together.

mod cases;

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_core::{Init, Registry, Site, SiteKind, device::cpu};
use serde::Serialize;

use crate::gamma::{self, GammaError, difference};
pub use cases::{CASES, Case};

/// How far a device is from the CPU in double precision.
#[derive(Debug, Clone, Serialize)]
pub struct Deviation {
    /// The operation.
    pub name: &'static str,
    /// Relative deviation of its value.
    pub value: f64,
    /// The same of its gradients, all inputs together.
    pub gradient: f64,
}

impl Deviation {
    /// Whether both are no more than rounding.
    pub fn is_rounding(&self, dtype: DType) -> bool {
        self.value <= tolerance(dtype) && self.gradient <= tolerance(dtype)
    }
}

/// Some hundred times the rounding of a type.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-13,
        DType::F32 => 1e-5,
        DType::F16 => 1e-2,
        _ => 1e-1,
    }
}

/// Compares one operation.
///
/// # Panics
/// Where the device does: backends report what they cannot do so.
pub fn compare(case: &Case, device: &Device, dtype: DType) -> Deviation {
    let [expected, found] =
        [(cpu(), DType::F64), (device.clone(), dtype)].map(|(device, dtype)| {
            let device = device.autodiff();
            let mut init = stream(case.name, &device, dtype);
            let inputs: Vec<_> = case
                .sizes
                .iter()
                .map(|size| init.normal::<1>([*size], 1.0).require_grad())
                .collect();
            let y = (case.run)(&inputs);
            let cotangent = init.normal::<1>(y.dims(), 1.0);
            let gradients = (y.clone() * cotangent).sum().backward();
            let gradient = |x: &Tensor<1>| x.grad(&gradients).map_or(Vec::new(), |g| numbers(&g));
            (numbers(&y), inputs.iter().flat_map(gradient).collect::<Vec<f64>>())
        });
    Deviation {
        name: case.name,
        value: deviation(&expected.0, &found.0),
        gradient: deviation(&expected.1, &found.1),
    }
}

/// Compares three steps of training an adapter: the update after them, and the norms of the gradients.
///
/// # Errors
/// When it cannot be trained.
///
/// # Panics
/// As [`compare`].
pub fn training(
    registry: &Registry,
    device: &Device,
    dtype: DType,
) -> Result<Deviation, GammaError> {
    let [expected, found] = [(&cpu(), DType::F64), (device, dtype)]
        .map(|(device, dtype)| gamma::trained(registry, device, dtype));
    let (expected, found) = (expected?, found?);
    Ok(Deviation {
        name: "training",
        value: deviation(&expected.0, &found.0),
        gradient: deviation(&expected.1, &found.1),
    })
}

/// The same numbers on every device, rounded to its type.
fn stream(name: &str, device: &Device, dtype: DType) -> Init {
    let site = Site::new(format!("conformance.{name}"), SiteKind::Linear, [1, 1]);
    let like = TensorData::new(vec![0.0f64], [1, 1]);
    Init::new(&site, Tensor::from_data(like, (device, dtype)), 0)
}

fn numbers(tensor: &Tensor<1>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn deviation(expected: &[f64], found: &[f64]) -> f64 {
    if expected.len() == found.len() { difference(expected, found).0 } else { f64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_within_rounding_of_itself() {
        let device = cpu();
        for dtype in [DType::F64, DType::F32] {
            for case in CASES {
                let deviation = compare(case, &device, dtype);
                assert!(deviation.is_rounding(dtype), "{dtype:?} {deviation:?}");
                assert_eq!(dtype == DType::F64, deviation.value == 0.0, "{deviation:?}");
            }
        }
    }

    #[test]
    fn another_operation_is_seen() {
        let silu = CASES.iter().find(|case| case.name == "silu").unwrap();
        let tanh = CASES.iter().find(|case| case.name == "tanh").unwrap();
        let x = stream("x", &cpu(), DType::F64).normal::<1>([9], 1.0);
        let [right, wrong] =
            [silu, tanh].map(|case| numbers(&(case.run)(std::slice::from_ref(&x))));
        assert!(deviation(&right, &wrong) > 0.1);
        assert_eq!(deviation(&right, &[f64::NAN; 9]), f64::MAX);
        assert_eq!(deviation(&right, &right[1..]), f64::MAX);
    }
}
