use burn::tensor::{DType, Device, TensorData};
use higanbana_core::spectrum::singular_values;

use super::*;

fn tensor<const D: usize>(entries: &[f64], shape: [usize; D]) -> Tensor<D> {
    let data = TensorData::new(entries.to_vec(), shape);
    Tensor::from_data(data, (&Device::default(), DType::F64))
}

fn adapter(entries: &[f64], shape: [usize; 2], scaled: bool, series: Series) -> Oftv2 {
    Oftv2 { oft_r: Param::from_tensor(tensor(entries, shape)), scaled, series }
}

fn close(actual: &[f64], expected: &[f64], tolerance: f64) {
    let near = |(a, e): (&f64, &f64)| (a - e).abs() < tolerance;
    assert!(actual.len() == expected.len(), "{actual:?} is not {expected:?}");
    assert!(actual.iter().zip(expected).all(near), "{actual:?} is not {expected:?}");
}

/// Of one block of two, $Q = q J$ with $J^2 = -I$: the series is $(1 - 2q^2 + q^4) I + (2q - 2q^3) J$.
#[test]
fn a_block_of_two_has_the_series_in_closed_form() {
    let linear = Site::new("l", SiteKind::Linear, [1, 2]);
    let conv = Site::new("c", SiteKind::Conv2d, [1, 2, 1, 1]);
    let w0 = tensor(&[1.0, 0.0], [1, 2]);
    let update = |site: &Site, adapter: &Oftv2| -> Vec<f64> {
        adapter.update(site, &w0).try_into_vec_as().unwrap()
    };
    let q = 0.25f64;
    let (along, across) = (q.powi(4) - 2.0 * q * q, 2.0 * q - 2.0 * q.powi(3));
    // The first row of Rᵀ, and of R.
    let short = adapter(&[q], [1, 1], false, Series::OfWeights);
    close(&update(&linear, &short), &[along, -across], 1e-16);
    close(&update(&conv, &short), &[along, across], 1e-16);
    // 2 √(b - 1) is 2.
    close(
        &update(&linear, &adapter(&[2.0 * q], [1, 1], true, Series::OfWeights)),
        &[along, -across],
        1e-16,
    );
    // PEFT turns the inputs of every layer, and its whole transform the other way.
    for site in [&linear, &conv] {
        let five = adapter(&[q], [1, 1], false, Series::UpTo(4));
        close(&update(site, &five), &[along, -across], 1e-16);
        let three = adapter(&[q], [1, 1], false, Series::UpTo(3));
        close(&update(site, &three), &[-2.0 * q * q, q.powi(3) - 2.0 * q], 1e-16);
        let whole = adapter(&[q], [1, 1], false, Series::Whole);
        let (n, s) = (1.0 + q * q, 2.0 * q);
        close(&update(site, &whole), &[-2.0 * q * q / n, s / n], 1e-16);
    }
}

/// What is made here acts alike on a layer and on a convolution of one tap, and a file says which side it turns.
#[test]
fn files_keep_their_side() {
    let linear = Site::new("l", SiteKind::Linear, [3, 4]);
    let conv = Site::new("l", SiteKind::Conv2d, [3, 4, 1, 1]);
    let mut init = Init::new(&linear, tensor(&[0.0; 12], [3, 4]), 1);
    let (w0, device) = (init.normal([3, 4], 1.0), Device::default());
    let mut fresh = Oftv2::new(&linear, &Oftv2Config::default(), &mut init).unwrap();
    assert_eq!(fresh.dims(), [1, 4, 6]);
    fresh.oft_r = Param::from_tensor(init.normal([1, 6], 0.3));
    let read = |site: &Site, tensors: &Tensors| {
        let parts = Parts::new("m", tensors, &device, DType::F64);
        let adapter = Oftv2::read(site, &parts).unwrap();
        assert_eq!(parts.unused(), [""; 0]);
        (adapter.write(site), adapter.update(site, &w0).try_into_vec_as::<f64>().unwrap())
    };
    let written = fresh.write(&linear);
    let keys: Vec<_> = written.keys().map(String::as_str).collect();
    assert_eq!(keys, [TERMS, WEIGHT]);
    let [there, here] = [&conv, &linear].map(|site| read(site, &written));
    assert_eq!(there, here);
    assert_eq!(there.0, written);
    // OneTrainer's has no such tensor, turns the weight of a convolution, and is written as it was.
    let theirs = Tensors::from([(WEIGHT.to_string(), written[WEIGHT].clone())]);
    let [there, here] = [&conv, &linear].map(|site| read(site, &theirs));
    assert_eq!((&there.0, &here.0), (&theirs, &theirs));
    let back = read(&linear, &{
        let negated: Vec<f64> = theirs[WEIGHT].iter::<f64>().map(|v| -v).collect();
        Tensors::from([(WEIGHT.to_string(), TensorData::new(negated, [1, 6]))])
    });
    close(&there.1, &back.1, 1e-15);
    assert_ne!(there.1, here.1);
}

#[test]
fn a_shared_block_turns_every_group_alike() {
    let site = Site::new("l", SiteKind::Linear, [1, 6]);
    let w0 = tensor(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], [1, 6]);
    let shared = adapter(&[0.1, -0.2, 0.3], [1, 3], false, Series::OfWeights);
    let twice = adapter(&[0.1, -0.2, 0.3, 0.1, -0.2, 0.3], [2, 3], false, Series::OfWeights);
    let [shared, twice]: [Vec<f64>; 2] =
        [shared, twice].map(|it| it.update(&site, &w0).try_into_vec_as().unwrap());
    assert_eq!(shared, twice);
    assert_eq!(shared[..3], shared[3..]);
}

#[test]
fn the_series_is_a_rotation_up_to_its_fourth_power() {
    let site = Site::new("l", SiteKind::Linear, [8, 8]);
    let mut init = Init::new(&site, tensor(&[0.0; 64], [8, 8]), 1);
    let (w0, v): (Tensor<2>, Tensor<2>) = (init.normal([8, 8], 1.0), init.normal([2, 6], 1.0));
    let before = singular_values(&w0).unwrap();
    let departs = |size: f64, series: Series| {
        let oft_r = Param::from_tensor(v.clone().mul_scalar(size));
        let adapter = Oftv2 { oft_r, scaled: false, series };
        let after = singular_values(&(w0.clone() + adapter.update(&site, &w0))).unwrap();
        before.iter().zip(after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    assert!(departs(0.5, Series::Whole) < 1e-13);
    let (large, small) = (departs(0.02, Series::OfWeights), departs(0.01, Series::OfWeights));
    assert!((large / small - 16.0).abs() < 0.5, "{large:e} {small:e}");
}

#[test]
fn blocks_are_the_nearest_divisors() {
    for (inputs, asked, b) in [
        (24, 4, Some(4)),
        (24, 5, Some(4)),
        (24, 7, Some(6)),
        (20, 100, Some(20)),
        (7, 2, Some(7)),
        (6, 1, Some(2)),
        (1, 4, None),
    ] {
        assert_eq!(block_size(inputs, asked), b, "{inputs} {asked}");
    }
    let sizes = (0..=10).map(block_of);
    let known = [None, Some(2), None, Some(3), None, None, Some(4), None, None, None, Some(5)];
    assert!(sizes.eq(known));
    assert_eq!(block_of(usize::MAX), None);
    assert_eq!(places(3, 3), [3, 0, 1, 3, 3, 2, 3, 3, 3]);
}
