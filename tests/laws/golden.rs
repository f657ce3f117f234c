//! The algebra against numpy, in `f64`: `tests/reference/make_algebra.py` says what each value is.

use burn::tensor::{DType, Tensor};
use higanbana::prelude::{algebra, spectrum};

use super::matrices::{Golden, deviation, singular_values, values};

const GOLDEN: Golden = Golden(include_bytes!("../reference/algebra.safetensors"));

fn input<const D: usize>(key: &str, shape: [usize; D]) -> Tensor<D> {
    GOLDEN.input(key, shape)
}

#[track_caller]
fn equals(actual: &[f64], key: &str) {
    GOLDEN.equals(actual, key);
}

#[test]
fn kronecker_product() {
    let product = algebra::kron(input("kron.a", [3, 4]), input("kron.b", [5, 2, 1]));
    equals(&values(&product), "kron.product");
}

#[test]
fn tucker_contraction() {
    for (name, taps) in [("1d", 4), ("2d", 6)] {
        let core = input(&format!("tucker.core_{name}"), [3, 3, taps]);
        let weight =
            algebra::tucker(core, input("tucker.up", [6, 3]), input("tucker.down", [3, 5]));
        equals(&values(&weight), &format!("tucker.weight_{name}"));
    }
}

#[test]
fn cayley_transform() {
    let blocks = input("cayley.blocks", [4, 6, 6]);
    equals(&values(&algebra::cayley(algebra::skew(blocks))), "cayley.rotation");
}

#[test]
fn measures_of_the_spectrum() {
    let s = singular_values(&input("spectrum.matrix", [12, 8]));
    equals(&s, "spectrum.singular_values");
    equals(&[spectrum::stable_rank(&s)], "spectrum.stable_rank");
    equals(&[spectrum::effective_rank(&s)], "spectrum.effective_rank");
    let errors: Vec<f64> = (0..8).map(|rank| spectrum::truncation_error(&s, rank)).collect();
    equals(&errors, "spectrum.approximation_errors");
}

/// Law 03.
#[test]
fn best_approximations() {
    let matrix = input("spectrum.matrix", [12, 8]);
    let svd = spectrum::svd(&matrix).unwrap();
    let errors: Vec<f64> = (1..8)
        .map(|rank| {
            let best = spectrum::truncated(&svd, rank).unwrap();
            let left = matrix.clone() - best.matrix(&matrix.device(), DType::F64);
            values(&algebra::frobenius(left))[0]
        })
        .collect();
    let expected = &GOLDEN.values("spectrum.approximation_errors")[1..];
    let error = deviation(&errors, expected);
    assert!(error < 1e-10, "truncation errors depart by {error:e}");
}

/// Law 03.
#[test]
fn nearest_kronecker_product() {
    let matrix = input("nearest_kronecker.matrix", [12, 10, 1]);
    for terms in [1, 3] {
        let nearest = spectrum::nearest_kron(&matrix, [3, 2], terms).unwrap();
        equals(&[nearest.error], &format!("nearest_kronecker.error_{terms}"));
        let sum = nearest.terms.into_iter().map(|(a, b)| algebra::kron(a, b));
        let sum = sum.reduce(|a, b| a + b).unwrap();
        equals(&values(&sum), &format!("nearest_kronecker.nearest_{terms}"));
    }
}

#[test]
fn norms_of_rows_and_columns() {
    let weight = input("dora.weight", [6, 4, 6]);
    let rows = algebra::output_norms(weight.clone());
    let columns = algebra::input_norms(weight.clone());
    equals(&values(&rows), "dora.norm_out");
    equals(&values(&columns), "dora.norm_in");
    let rows = input("dora.magnitude_out", [6, 1, 1]) / rows.reshape([6, 1, 1]);
    equals(&values(&(weight.clone() * rows)), "dora.weight_out");
    let columns = input("dora.magnitude_in", [1, 4, 1]) / columns.reshape([1, 4, 1]);
    equals(&values(&(weight * columns)), "dora.weight_in");
}
