use burn::tensor::{DType, Device, TensorData};
use higanbana_core::SiteKind;

use super::*;

fn read(site: &Site, tensors: &Tensors) -> Result<Loha, AdapterError> {
    Loha::read(site, &Parts::new("m", tensors, &Device::default(), DType::F64))
}

fn file<const N: usize>(tensors: [(&str, TensorData); N]) -> Tensors {
    tensors.map(|(key, data)| (key.to_string(), data)).into()
}

fn update(adapter: &Loha, site: &Site) -> Vec<f64> {
    adapter.update(site, &w0(site)).to_data().iter().collect()
}

fn w0(site: &Site) -> Tensor<2> {
    Tensor::ones([site.out(), site.cols()], (&Device::default(), DType::F64))
}

fn rank_one() -> Tensors {
    file([
        ("hada_w1_a", TensorData::from([[1.0], [2.0]])),
        ("hada_w1_b", TensorData::from([[3.0, 4.0]])),
        ("hada_w2_a", TensorData::from([[5.0], [6.0]])),
        ("hada_w2_b", TensorData::from([[7.0, 8.0]])),
        ("alpha", TensorData::from([2.0])),
    ])
}

#[test]
fn products_meet_entry_by_entry() {
    let site = Site::new("l", SiteKind::Linear, [2, 2]);
    let adapter = read(&site, &rank_one()).unwrap();
    // 2 · [[3, 4], [6, 8]] ⊙ [[35, 40], [42, 48]]
    assert_eq!(update(&adapter, &site), [210.0, 320.0, 504.0, 768.0]);
}

#[test]
fn the_first_index_of_a_core_is_that_of_the_output() {
    let site = Site::new("c", SiteKind::Conv1d, [1, 1, 2]);
    let tensors = file([
        ("hada_t1", TensorData::from([[[1.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [4.0, 1.0]]])),
        ("hada_w1_a", TensorData::from([[1.0], [10.0]])),
        ("hada_w1_b", TensorData::from([[1.0], [100.0]])),
        ("hada_t2", TensorData::from([[[3.0, -1.0]]])),
        ("hada_w2_a", TensorData::from([[2.0]])),
        ("hada_w2_b", TensorData::from([[1.0]])),
    ]);
    let adapter = read(&site, &tensors).unwrap();
    // Tap 0: (1 + 200 + 30 + 4000) · 6, tap 1: 1000 · -2; the ranks differ, 2 and 1.
    assert_eq!(update(&adapter, &site), [25386.0, -2000.0]);
    assert_eq!(adapter.parameter_count(&site), 12 + 4);
    assert_eq!(adapter.write(&site)["hada_t1"], tensors["hada_t1"]);
}

#[test]
fn the_scalar_is_folded_into_the_first_factor() {
    let site = Site::new("l", SiteKind::Linear, [2, 2]);
    let mut adapter = read(&site, &rank_one()).unwrap();
    let scalar = Tensor::from_data([3.0], (&Device::default(), DType::F64));
    adapter.scalar = Scalar { scalar: Some(Param::from_tensor(scalar)) };
    let written = adapter.write(&site);
    written["hada_w1_a"].assert_eq(&TensorData::from([[3.0], [6.0]]), false);
    assert_eq!(update(&read(&site, &written).unwrap(), &site), update(&adapter, &site));
    assert_eq!(update(&adapter, &site)[0], 630.0);
}

#[test]
fn shapes_that_contradict_each_other_are_named() {
    let site = Site::new("l", SiteKind::Linear, [2, 3]);
    let message = read(&site, &rank_one()).unwrap_err().to_string();
    assert!(message.starts_with("m.hada_w1_b: shape [1, 2] does not fit"), "{message}");
    let mut tensors = rank_one();
    tensors.remove("hada_w2_a");
    let site = Site::new("l", SiteKind::Linear, [2, 2]);
    let message = read(&site, &tensors).unwrap_err().to_string();
    assert_eq!(message, "m: tensor `hada_w2_a` is missing");
}

#[test]
fn a_fit_keeps_what_the_budget_asks() {
    let site = Site::new("l", SiteKind::Linear, [12, 9]);
    let mut init = Init::new(&site, w0(&site), 1);
    let target = init.normal([12, 9], 1.0);
    let error = |budget| {
        let fit = Loha::fit(&site, &target, budget).unwrap().unwrap();
        let left = fit.update(&site, &w0(&site)) - target.clone();
        let [left, all] = [left, target.clone()].map(|x| x.square().sum().into_scalar::<f64>());
        (fit.ranks()[0], left / all)
    };
    assert_eq!(error(Budget::Rank(2)).0, 2);
    let (rank, left) = error(Budget::Energy(0.9));
    assert!(left <= 0.1 && rank < 9, "rank {rank} leaves {left}");
}
