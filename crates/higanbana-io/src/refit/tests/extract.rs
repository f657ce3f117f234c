//! How close an extracted adapter comes, and what is in the file.

use super::*;

#[test]
fn lora_leaves_the_tail_of_the_spectrum_that_numpy_finds() {
    let update = golden("spectrum.matrix");
    let errors: Vec<f64> = golden("spectrum.approximation_errors").iter().collect();
    for (rank, error) in [(1, errors[1]), (2, errors[2]), (4, errors[4]), (7, errors[7])] {
        let (.., found) = extract_one("lora", Budget::Rank(rank), &update, DType::F64);
        let fit = &found.layers[0].fit;
        assert_eq!((fit.rank, fit.parameters), (Some(rank), rank * (12 + 8)));
        assert!((fit.error - error).abs() < 1e-13, "rank {rank}: {} {error}", fit.error);
        assert_eq!(found.total().error, fit.error);

        let (.., found) = extract_one("lora", Budget::Rank(rank), &update, DType::F32);
        assert!((found.layers[0].fit.error - error).abs() < 1e-6 * fit.norm, "rank {rank}");
    }
    let (.., whole) = extract_one("lora", Budget::Rank(99), &update, DType::F64);
    assert_eq!(whole.layers[0].fit.rank, Some(8));
    assert!(whole.total().relative() < 1e-14);
}

#[test]
fn lokr_is_the_nearest_kronecker_product_that_numpy_finds() {
    let update = golden("nearest_kronecker.matrix");
    let (files, found) = extract_one("lokr", Budget::Rank(9), &update, DType::F64);
    let error = number("nearest_kronecker.error_1");
    assert!((found.layers[0].fit.error - error).abs() < 1e-13);
    let merged = files.merged(&files.path("base"), &files.path("out"));
    let nearest: Vec<f64> = golden("nearest_kronecker.nearest_1").iter().collect();
    let w0: Vec<f64> = noise(update.shape(), 5).iter().collect();
    let update: Vec<f64> =
        values(&merged, "layer.weight").iter().zip(&w0).map(|(w, w0)| w - w0).collect();
    // alpha is f32 in every file, and 1 here.
    assert!(distance(&update, &nearest) < 1e-13);
}

#[test]
fn loha_is_no_worse_than_the_best_matrix_of_its_rank() {
    let update = noise(&[12, 10, 3, 3], 3);
    for rank in [2, 5] {
        let (.., found) = extract_one("loha", Budget::Rank(rank), &update, DType::F64);
        let fit = &found.layers[0].fit;
        assert_eq!(fit.rank, Some(rank));
        assert!(fit.error <= tail(&matrix(&update), rank) * (1.0 + 1e-12), "rank {rank}");
    }
}

/// A product of rank 4 of the size of a layer of Stable Diffusion is found; of a matrix without structure the fit says
/// that it is a local optimum, and what no product goes below: the tail beyond the rank 2².
#[test]
fn an_exact_loha_is_recovered_and_a_local_optimum_says_so() {
    let factors = |k: u64| {
        let [a, b] = [noise(&[320, 4], 20 + k), noise(&[4, 320], 30 + k)];
        matrix(&a).matmul(matrix(&b))
    };
    let planted = (factors(1) * factors(2)).to_data();
    let (.., found) = extract_one("loha", Budget::Rank(4), &planted, DType::F32);
    let fit = &found.layers[0].fit;
    assert!(fit.relative() < 1e-5 && fit.local_optimum.is_none(), "{fit:?}");
    let update = noise(&[30, 24], 3);
    let (.., found) = extract_one("loha", Budget::Rank(2), &update, DType::F64);
    let least = found.layers[0].fit.local_optimum.unwrap();
    assert!((least / tail(&matrix(&update), 4) - 1.0).abs() < 1e-12);
    let (.., found) = extract_one("lora", Budget::Rank(2), &update, DType::F64);
    assert_eq!(found.layers[0].fit.local_optimum, None);
}

#[test]
fn a_convolution_is_the_matrix_of_its_outputs() {
    let update = noise(&[6, 4, 3, 3], 8);
    let (files, found) = extract_one("locon", Budget::Rank(3), &update, DType::F64);
    assert!((found.total().error - tail(&matrix(&update), 3)).abs() < 1e-13);
    let file = Checkpoint::open(files.path("out")).unwrap();
    let shape = |key: &str| file.info(key).unwrap().shape.clone();
    assert_eq!(shape("lycoris_layer.lora_down.weight"), [3, 4, 3, 3]);
    assert_eq!(shape("lycoris_layer.lora_up.weight"), [6, 3, 1, 1]);
    assert_eq!(values(&file, "lycoris_layer.alpha"), [3.0]);
}

#[test]
fn budgets_keep_what_they_say() {
    let update = golden("spectrum.matrix");
    // Singular values 1, 1/2, 1/4, ..., 1/128: half of them exceed 0.1 and a tenth of the first.
    for (budget, rank) in [
        (Budget::Energy(0.95), 3),
        (Budget::Threshold(0.1), 4),
        (Budget::Ratio(0.1), 4),
        (Budget::Energy(1.0), 8),
    ] {
        let (.., found) = extract_one("lora", budget, &update, DType::F64);
        assert_eq!(found.layers[0].fit.rank, Some(rank), "{budget:?}");
        if let Budget::Energy(share) = budget {
            let kept = 1.0 - found.total().relative().powi(2);
            assert!(kept >= share - 1e-14, "{budget:?} keeps {kept}");
        }
    }
}

#[test]
fn the_error_is_that_of_the_tensors_in_the_file() {
    let update = golden("spectrum.matrix");
    let (files, _) = extract_one("lora", Budget::Rank(8), &update, DType::F64);
    let registry = registry();
    let extract = Extract {
        registry: &registry,
        choice: Choice::named(&registry, "lora").unwrap(),
        budget: Budget::Rank(8),
        alpha: None,
        norms: false,
        device: Device::flex(),
        compute: DType::F64,
        dtype: DType::BF16,
    };
    let [base, tuned, out] = ["base", "tuned", "out"].map(|name| files.path(name));
    let found = extract.run(&base, &tuned, &out, true, |_, _| ()).unwrap();
    let merged = values(&files.merged(&base, &out), "layer.weight");
    let missing = distance(&merged, &values(&Checkpoint::open(tuned).unwrap(), "layer.weight"));
    assert!((found.total().error - missing).abs() < 1e-14);
    let relative = found.total().relative();
    assert!((1e-4..1e-2).contains(&relative), "8 bits give {relative}");
}
