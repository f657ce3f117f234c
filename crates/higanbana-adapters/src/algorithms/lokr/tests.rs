use burn::tensor::{DType, Device, TensorData, bf16};
use higanbana_core::{Arguments, spectrum};

use super::*;

fn read(site: &Site, tensors: &Tensors) -> Result<Lokr, AdapterError> {
    Lokr::read(site, &Parts::new("m", tensors, &Device::default(), DType::F64))
}

fn file<const N: usize>(tensors: [(&str, TensorData); N]) -> Tensors {
    tensors.map(|(key, data)| (key.to_string(), data)).into()
}

fn update(adapter: &Lokr, site: &Site) -> Vec<f64> {
    adapter.update(site, &w0(site)).to_data().iter().collect()
}

fn w0(site: &Site) -> Tensor<2> {
    Tensor::ones([site.out(), site.cols()], (&Device::default(), DType::F64))
}

fn new(site: &Site, options: &str) -> Lokr {
    let config = toml::from_str(options).unwrap();
    Lokr::new(site, &config, &mut Init::new(site, w0(site), 0)).unwrap()
}

#[test]
fn whole_factors_ignore_alpha_but_keep_it() {
    let site = Site::new("l", SiteKind::Linear, [2, 4]);
    let tensors = file([
        ("lokr_w1", TensorData::from([[1.0, 10.0]])),
        ("lokr_w2", TensorData::from([[1.0, 2.0], [3.0, 4.0]])),
        ("alpha", TensorData::from([1e10])),
    ]);
    let adapter = read(&site, &tensors).unwrap();
    assert_eq!(update(&adapter, &site), [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
    adapter.write(&site)["alpha"].assert_eq(&scalar_data(1e10), true);
    let rs = new(&site, "rank = 4\nrs_lora = true\nalpha = 7.0");
    rs.write(&site)["alpha"].assert_eq(&scalar_data(4.0), true);
    assert_eq!(rs.w1.rank().or(rs.w2.ranks().map(|[r, _]| r)), None);
}

#[test]
fn whole_factors_act_as_they_were_trained_where_the_file_tells() {
    let site = Site::new("l", SiteKind::Linear, [1, 1]);
    let one = || TensorData::from([[1.0]]);
    let root = 2f32.powf(1.5);
    // At rank 2 rs_lora saves 2√2, and at rank 4 what it does not save at rank 8.
    for (alpha, said, scale) in [
        (TensorData::from([root]), None, 2f64.sqrt()),
        (TensorData::from([root]).convert::<bf16>(), None, 2f64.sqrt()),
        (TensorData::from([8.0f32]), None, 1.0),
        (TensorData::from([8.0f32]), Some("False"), 1.0),
        (TensorData::from([8.0f32]), Some("True"), 2.0),
        (TensorData::from([2.5f32]), None, 1.0),
    ] {
        let tensors = file([("lokr_w1", one()), ("lokr_w2", one()), ("alpha", alpha)]);
        let arguments = said.map(|said| ("rs_lora".to_string(), said.to_string()));
        let arguments = arguments.into_iter().collect();
        let parts = Parts::new("m", &tensors, &Device::default(), DType::F64);
        let adapter = Lokr::read(&site, &parts.with_arguments(&arguments)).unwrap();
        assert!((update(&adapter, &site)[0] - scale).abs() < 1e-15, "{tensors:?} {said:?}");
        let again = adapter.write(&site)["alpha"].iter::<f64>().next();
        assert_eq!(again, tensors["alpha"].iter::<f64>().next());
    }
}

#[test]
fn what_the_file_leaves_open_is_said() {
    let whole = ["lokr_w1", "lokr_w2", "alpha"];
    let said = Arguments::from([("algo".into(), "lokr".into())]);
    let silent = Arguments::new();
    for (keys, alpha, arguments, is_open) in [
        (whole, 8.0, &silent, true),
        (whole, 8.0, &said, false),
        (whole, 4.0, &silent, false),
        (whole, 1.0, &silent, false),
        (["lokr_w1", "lokr_w2_a", "lokr_w2_b"], 8.0, &silent, false),
    ] {
        let module = Glimpse { keys: keys.into(), alpha: Some(alpha), arguments };
        assert_eq!(Lokr::assumption(&module).is_some(), is_open, "{module:?}");
    }
}

#[test]
fn a_kernel_is_read_flat_and_unfolded() {
    let site = Site::new("c", SiteKind::Conv1d, [2, 2, 2]);
    let flat = file([
        ("lokr_w1_a", TensorData::from([[1.0], [2.0]])),
        ("lokr_w1_b", TensorData::from([[3.0]])),
        ("lokr_w2_a", TensorData::from([[5.0]])),
        ("lokr_w2_b", TensorData::from([[1.0, 2.0, 3.0, 4.0]])),
        ("alpha", TensorData::from([2.0])),
    ]);
    let mut unfolded = flat.clone();
    unfolded.insert("lokr_w2_b".into(), TensorData::from([[[1.0, 2.0], [3.0, 4.0]]]));
    for tensors in [flat, unfolded] {
        // 2 · [3, 6] ⊗ [5, 10, 15, 20]
        let adapter = read(&site, &tensors).unwrap();
        let expected = [30.0, 60.0, 90.0, 120.0, 60.0, 120.0, 180.0, 240.0];
        assert_eq!(update(&adapter, &site), expected);
    }
}

#[test]
fn a_core_of_unequal_ranks_is_taken_as_it_is() {
    let site = Site::new("c", SiteKind::Conv1d, [1, 1, 2]);
    let tensors = file([
        ("lokr_w1", TensorData::from([[1.0]])),
        ("lokr_t2", TensorData::from([[[1.0, 0.0], [2.0, 1.0]]])),
        ("lokr_w2_a", TensorData::from([[3.0]])),
        ("lokr_w2_b", TensorData::from([[1.0], [10.0]])),
    ]);
    let adapter = read(&site, &tensors).unwrap();
    assert_eq!(update(&adapter, &site), [63.0, 30.0]);
    assert_eq!((adapter.rank_bound(&site), adapter.parameter_count(&site)), (1, 8));
}

#[test]
fn factors_follow_the_options() {
    let site = Site::new("l", SiteKind::Linear, [24, 20]);
    for (options, w1, w2) in [
        ("rank = 2", ([4, 4], None), ([6, 5, 1], Some([2, 2]))),
        ("rank = 3", ([4, 4], None), ([6, 5, 1], None)),
        ("rank = 1\ndecompose_both = true", ([4, 4], Some(1)), ([6, 5, 1], Some([1, 1]))),
        ("rank = 2\nfactor = 2", ([2, 2], None), ([12, 10, 1], Some([2, 2]))),
        ("rank = 2\nfactor = 3", ([3, 2], None), ([8, 10, 1], Some([2, 2]))),
        ("rank = 1\nfull_matrix = true", ([4, 4], None), ([6, 5, 1], None)),
        (
            "rank = 5\nfactor = 2\nunbalanced_factorization = true\ndecompose_both = true",
            ([12, 2], Some(5)),
            ([2, 10, 1], None),
        ),
    ] {
        let adapter = new(&site, options);
        assert_eq!((adapter.w1.dims(), adapter.w1.rank()), w1, "{options}");
        assert_eq!((adapter.dims_of_w2(&site), adapter.w2.ranks()), w2, "{options}");
    }
}

#[test]
fn sizes_that_do_not_divide_are_named() {
    let site = Site::new("l", SiteKind::Linear, [3, 4]);
    let tensors = file([
        ("lokr_w1", TensorData::from([[1.0, 1.0], [1.0, 1.0]])),
        ("lokr_w2", TensorData::from([[1.0, 1.0]])),
    ]);
    let message = read(&site, &tensors).unwrap_err().to_string();
    assert!(message.starts_with("m.lokr_w1: shape [2, 2] does not fit"), "{message}");
    let config = LokrConfig { factor: 0, ..LokrConfig::default() };
    let error = Lokr::new(&site, &config, &mut Init::new(&site, w0(&site), 0)).unwrap_err();
    assert_eq!(error.to_string(), "l: factor is 0, give -1 or a positive number");
}

#[test]
fn a_kronecker_product_is_fitted_and_cut_to_the_rank() {
    let site = Site::new("l", SiteKind::Linear, [24, 36]);
    let mut init = Init::new(&site, w0(&site), 3);
    let (w1, w2) = (init.normal([4, 6], 1.0), init.normal([6, 6, 1], 1.0));
    let target = algebra::kron(w1.clone(), w2.clone()).reshape([24, 36]);
    let error = |budget| {
        let fit = Lokr::fit(&site, &target, budget).unwrap().unwrap();
        let left = (fit.update(&site, &w0(&site)) - target.clone()).square().sum();
        (fit.w2.ranks(), left.into_scalar::<f64>().sqrt())
    };
    let (whole, left) = error(Budget::Rank(3));
    assert!(whole.is_none() && left < 1e-12, "{left}");
    // What is left of W2, as often as W1 has it.
    let s = spectrum::singular_values(&w2.reshape([6, 6])).unwrap();
    let expected =
        spectrum::truncation_error(&s, 2) * w1.square().sum().into_scalar::<f64>().sqrt();
    let (cut, left) = error(Budget::Rank(2));
    assert_eq!(cut, Some([2, 2]));
    assert!((left / expected - 1.0).abs() < 1e-12, "{left} is not {expected}");
}
