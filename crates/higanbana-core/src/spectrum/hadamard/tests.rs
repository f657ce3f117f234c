use super::*;
use crate::{
    algebra::testing::{close, sample, tensor, values},
    spectrum::singular_values,
};

fn product([a1, b1, a2, b2]: [Tensor<2>; 4]) -> Tensor<2> {
    a1.matmul(b1) * a2.matmul(b2)
}

fn distance(a: Tensor<2>, b: Tensor<2>) -> f64 {
    values((a - b).square().sum())[0].sqrt()
}

#[test]
fn a_column_is_the_least_squares_solution_of_its_own_system() {
    // (4, 9) from (1, 2) ⊙ (2, 3) = (2, 6): (2·4 + 6·9) / (2² + 6²).
    let of = |entries: &[f64], rows, cols| {
        MatRef::from_column_major_slice(entries, rows, cols).to_owned()
    };
    let (target, b) = (of(&[4.0, 9.0], 2, 1), of(&[1.0, 2.0], 1, 2));
    let a = solve(&target, &b, &of(&[2.0, 3.0], 2, 1));
    assert!((a[(0, 0)] - 62.0 / 40.0).abs() < 1e-11);
}

#[test]
fn never_worse_than_the_best_matrix_of_the_rank_and_as_far_as_it_says() {
    let w = sample([20, 33], 1);
    let s = singular_values(&w).unwrap();
    for rank in [1, 2, 5, 20] {
        let fit = fit_hadamard(&w, rank).unwrap();
        assert!(fit.error <= truncation_error(&s, rank) + 1e-9, "rank {rank}");
        assert!((distance(product(fit.factors), w.clone()) - fit.error).abs() < 1e-12);
    }
    // At rank 5 it is as good as the best matrix of rank 10.
    assert!(fit_hadamard(&w, 5).unwrap().error < 1.02 * truncation_error(&s, 10));
}

#[test]
fn hadamard_products_are_met() {
    for (rank, seed) in [(1, 2), (2, 2)] {
        let of = |shape, k: u64| sample(shape, 10 * seed + k);
        let w =
            product([of([24, rank], 1), of([rank, 20], 2), of([24, rank], 3), of([rank, 20], 4)]);
        let fit = fit_hadamard(&w, rank).unwrap();
        assert!(
            fit.error < 1e-3 * values(w.square().sum())[0].sqrt(),
            "rank {rank}: {}",
            fit.error
        );
    }
}

/// Such a product of a rank that users have, at sizes of Stable Diffusion's layers, is found: wide and tall, and
/// through the rounding of half precision.
#[test]
fn hadamard_products_of_layers_are_recovered() {
    for (m, n, rank, noise) in [
        (320, 320, 4, 0.0),
        (320, 768, 4, 5e-4),
        (640, 320, 4, 5e-4),
        (36, 30, 3, 0.0),
        (12, 9, 2, 1e-3),
    ] {
        let of = |shape, k: u64| sample(shape, 40 + k);
        let exact =
            product([of([m, rank], 1), of([rank, n], 2), of([m, rank], 3), of([rank, n], 4)]);
        let norm = |x: Tensor<2>| values(x.square().sum())[0].sqrt();
        let size = norm(exact.clone()) / ((m * n) as f64).sqrt();
        let w = exact + sample([m, n], 5).mul_scalar(noise * size);
        let left = fit_hadamard(&w, rank).unwrap().error / norm(w);
        assert!(left <= 1.01 * noise + 1e-9, "{m}×{n}, rank {rank}: {left:e}");
    }
}

#[test]
fn the_result_is_repeatable_and_its_factors_have_equal_norms() {
    let w = sample([9, 7], 3);
    let [first, second] = [0; 2].map(|_| fit_hadamard(&w, 2).unwrap().factors);
    let norms = first.clone().map(|factor| values(factor.square().sum())[0].sqrt());
    assert!(norms.iter().all(|norm| (norm / norms[0] - 1.0).abs() < 1e-12));
    for (a, b) in first.into_iter().zip(second) {
        close(a, b, 0.0);
    }
}

#[test]
fn the_zero_matrix_and_ranks_out_of_range() {
    let zero = tensor([2, 3], &[0.0; 6]);
    let fit = fit_hadamard(&zero, 1).unwrap();
    close(product(fit.factors), zero.clone(), 0.0);
    assert!(fit_hadamard(&zero, 0).is_err());
    assert!(fit_hadamard(&zero, 3).is_err());
}
