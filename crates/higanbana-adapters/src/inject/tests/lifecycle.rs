//! Strengths, merging, detaching, records, `valid` and `train`.

use higanbana_core::{Slot, slot};

use super::*;

fn adapted(device: &Device) -> (Net, Net) {
    let model = net(device);
    let (one, _) = inject(&model, &registry(), &lora("a")).unwrap();
    let (two, _) = inject(&one, &registry(), &lora("b").seed(1).strength(0.5)).unwrap();
    (model, shake(two))
}

fn weight(model: &Net) -> Tensor<4> {
    model.conv_in.weight.val()
}

fn assert_close(a: Tensor<4>, b: Tensor<4>) {
    let difference = (a - b).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn strengths_inter_and_extrapolate() {
    let (model, two) = adapted(&Device::default());
    let at = |a, b| {
        let model = set_strength(&two, "a", a).unwrap();
        weight(&set_strength(&model, "b", b).unwrap())
    };
    let w0 = weight(&model);
    at(0.0, 0.0).into_data().assert_eq(&w0.clone().into_data(), true);
    let (a, b) = (at(1.0, 0.0) - w0.clone(), at(0.0, 1.0) - w0.clone());
    assert!(a.clone().abs().max().into_scalar::<f32>() > 0.01);
    assert_close(weight(&two), w0.clone() + a.clone() + b.clone().mul_scalar(0.5));
    assert_close(at(-2.0, 3.0), w0 - a.mul_scalar(2.0) + b.mul_scalar(3.0));
    let error = set_strength(&two, "c", 1.0).unwrap_err().to_string();
    assert_eq!(error, "the model has no set `c`; it has: a, b");
    assert!(set_strength(&two, "a", f64::INFINITY).unwrap_err().to_string().contains("is inf"));
}

#[test]
fn a_merged_model_computes_what_the_adapted_one_does() {
    let device = Device::default().autodiff();
    let (model, two) = adapted(&device);
    let merged = merge(&two);
    assert!(slot::collect(&merged).is_empty());
    assert_eq!(merged.num_params(), model.num_params());
    let x = input(&Device::default());
    let expected = two.valid().forward(x.clone()).into_data();
    merged.forward(x).into_data().assert_eq(&expected, true);
}

#[test]
fn unmerging_and_detaching_restore_the_bits() {
    let (model, two) = adapted(&Device::default());
    merge(&two);
    let one = detach(&two, "b").unwrap();
    assert_eq!(sets(&one), ["a"]);
    assert_ne!(weight(&one).into_data(), weight(&model).into_data());
    let none = detach(&one, "a").unwrap();
    let x = input(&Device::default());
    none.forward(x.clone()).into_data().assert_eq(&model.forward(x).into_data(), true);
    assert_eq!(all(&none), all(&model));
    assert!(detach(&none, "a").is_err());
    // The empty slots take adapters again.
    let (again, _) = inject(&none, &registry(), &lora("a")).unwrap();
    assert_eq!(factors(&again).len(), 2 * 11);
}

#[test]
fn adapters_move_to_another_model_with_the_same_base() {
    let (model, two) = adapted(&Device::default());
    let a = attach(&model, "a", 1.0, adapters(&two, "a").unwrap()).unwrap();
    let moved = attach(&a, "b", 0.5, adapters(&two, "b").unwrap()).unwrap();
    weight(&moved).into_data().assert_eq(&weight(&two).into_data(), true);
    assert_eq!(adapters(&two, "a").unwrap().len(), 11);
    assert!(adapters(&two, "c").is_err());
}

#[test]
fn records_hold_the_adapters() {
    let device = Device::default();
    let (model, two) = adapted(&device);
    let fresh = inject(&model, &registry(), &lora("a").seed(5)).unwrap().0;
    let fresh = inject(&fresh, &registry(), &lora("b").seed(6).strength(0.5)).unwrap().0;
    assert_ne!(factors(&fresh), factors(&two));
    let loaded = fresh.load_record(two.clone().into_record());
    assert_eq!(factors(&loaded), factors(&two));
    assert_eq!(sets(&loaded), ["a", "b"]);
    weight(&loaded).into_data().assert_eq(&weight(&two).into_data(), true);
}

#[test]
fn valid_and_train_keep_the_slots() {
    let device = Device::default().autodiff();
    let (_, two) = adapted(&device);
    let two = freeze(&two, "b").unwrap();
    let strengths = |model: &Net| {
        let slots = slot::collect(model).into_iter();
        slots.flat_map(|s| s.members).map(|l| (l.set, l.strength)).collect::<Vec<_>>()
    };
    let valid = two.valid();
    assert!(!valid.conv_in.weight.val().is_autodiff());
    assert_eq!(strengths(&valid), strengths(&two));
    let back = valid.train();
    assert_eq!(strengths(&back), strengths(&two));
    assert_eq!(all(&back), all(&two));
    assert!(!back.conv_in.weight.base().is_require_grad());
    let slot = back.conv_in.weight.reparameterization::<Slot>().unwrap();
    let trains = |index: usize| {
        let adapter = slot.members[index].adapter.clone();
        let lora = adapter.downcast::<crate::algorithms::lora::Lora>().unwrap();
        lora.lora_up.val().is_require_grad()
    };
    assert!(trains(0) && !trains(1));
}

#[test]
fn a_model_prepared_without_autodiff_trains_its_adapters_only() {
    let (model, _) = inject(&net(&Device::default()), &registry(), &lora("a")).unwrap();
    let model = model.train();
    assert!(!model.conv_in.weight.base().is_require_grad());
    assert!(weight(&model).is_tracked());
}
