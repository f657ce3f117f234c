//! Adapters on parameters: stacking, freezing, all or nothing.

use burn::nn::loss::{MseLoss, Reduction};
use burn::optim::{AdamWConfig, GradientsParams};
use higanbana_core::slot;

use super::*;

fn output(model: &Net, x: &Tensor<4>) -> TensorData {
    model.forward(x.clone()).into_data()
}

/// One step of AdamW on a regression to zero.
fn step(model: Net, x: &Tensor<4>) -> Net {
    let y = model.forward(x.clone());
    let loss = MseLoss::new().forward(y.clone(), y.zeros_like(), Reduction::Mean);
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    AdamWConfig::new().init().step(0.01, model, gradients)
}

#[test]
fn a_new_adapter_changes_no_bit() {
    let device = Device::default();
    let (model, x) = (net(&device), input(&device));
    let (adapted, _) = inject(&model, &registry(), &lora("a")).unwrap();
    output(&adapted, &x).assert_eq(&output(&model, &x), true);
}

#[test]
fn only_adapters_train() {
    let device = Device::default().autodiff();
    let x = input(&device);
    let (model, _) = inject(&net(&device), &registry(), &lora("a")).unwrap();
    let model = shake(model);
    let trained = step(model.clone(), &x);
    assert_eq!(base(&trained), base(&model));
    let (before, after) = (factors(&model), factors(&trained));
    assert_eq!(before.len(), 2 * 11);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.0, after.0);
        assert_ne!(before.1, after.1, "{} did not train", before.0);
    }
}

#[test]
fn an_earlier_set_trains_on_unless_it_is_frozen() {
    let device = Device::default().autodiff();
    let x = input(&device);
    let (model, _) = inject(&net(&device), &registry(), &lora("a")).unwrap();
    let (model, _) = inject(&model, &registry(), &lora("b").seed(1)).unwrap();
    let model = shake(model);
    let changed = |model: &Net| {
        let before = factors(model);
        let after = factors(&step(model.clone(), &x));
        before.iter().zip(&after).filter(|(before, after)| before != after).count()
    };
    assert_eq!(changed(&model), 4 * 11);
    assert_eq!(changed(&freeze(&model, "a").unwrap()), 2 * 11);
}

#[test]
fn a_second_injection_stacks() {
    let device = Device::default();
    let (model, x) = (net(&device), input(&device));
    let (one, _) = inject(&model, &registry(), &lora("a")).unwrap();
    let one = shake(one);
    let (two, report) = inject(&one, &registry(), &lora("b").seed(1)).unwrap();
    assert_eq!(report.adapted.len(), 11);
    assert_eq!(sets(&two), ["a", "b"]);
    assert!(slot::collect(&two).iter().all(|slot| slot.members.len() == 2));
    output(&two, &x).assert_eq(&output(&one, &x), true);
    assert_ne!(output(&shake(two), &x), output(&one, &x));
}

#[test]
fn the_order_of_a_stack_does_not_matter() {
    let device = Device::default();
    let model = net(&device);
    // Two algorithms, one of which depends on the base: it must see W0, not the other's W.
    let first = shake(inject(&model, &registry(), &lora("a")).unwrap().0);
    let dora = Injection::new("b", "lora+dora").options(toml::toml! { rank = 2 });
    let second = shake(inject(&model, &registry(), &dora).unwrap().0);
    let (a, b) = (adapters(&first, "a").unwrap(), adapters(&second, "b").unwrap());
    let ab = attach(&attach(&model, "a", 0.5, a.clone()).unwrap(), "b", -2.0, b.clone()).unwrap();
    let ba = attach(&attach(&model, "b", -2.0, b).unwrap(), "a", 0.5, a).unwrap();
    let weight = |model: &Net| model.conv_in.weight.val();
    let difference = (weight(&ab) - weight(&ba)).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");

    let w0 = weight(&model);
    let alone = |model: &Net, set| weight(&set_strength(model, set, 1.0).unwrap()) - w0.clone();
    let dora = slot::collect(&second).remove(0);
    let w0_matrix = dora.site.to_matrix(w0.clone());
    let update = dora.members[0].adapter.update_at(&dora.site, &w0_matrix, -2.0);
    let expected = w0.clone() + alone(&first, "a").mul_scalar(0.5) + dora.site.from_matrix(update);
    let difference = (weight(&ab) - expected).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn a_user_defined_algorithm_goes_where_the_built_in_ones_go() {
    let device = Device::default();
    let (model, x) = (net(&device), input(&device));
    let one = inject(&model, &with_row_shift(), &lora("a")).unwrap().0;
    let own = Injection::new("own", "row-shift");
    let (two, report) = inject(&one, &with_row_shift(), &own).unwrap();
    assert_eq!(report.adapted.len(), sites(&model).len());
    let two = shake(two);
    assert_ne!(output(&two, &x), output(&model, &x));
    let norm = report.adapted.iter().find(|a| a.site.kind == SiteKind::NormBias).unwrap();
    assert_eq!(norm.parameters, 4);

    // An adapter that was built by hand needs no registry.
    let v = Param::from_tensor(Tensor::<1>::ones([4], &device));
    let site = sites(&model).remove(1).site;
    let adapter = higanbana_core::DynAdapter::new(RowShift { v });
    let by_hand = attach(&model, "mine", 2.0, vec![(site, adapter)]).unwrap();
    let shifted = model.conv_in.bias.as_ref().unwrap().val().add_scalar(2.0);
    let bias = by_hand.conv_in.bias.as_ref().unwrap().val();
    bias.into_data().assert_eq(&shifted.into_data(), true);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let model = net(&Device::default());
    let inject = |seed| factors(&inject(&model, &registry(), &lora("a").seed(seed)).unwrap().0);
    assert_eq!(inject(3), inject(3));
    assert_ne!(inject(3), inject(4));
}

#[test]
fn what_cannot_be_placed_names_the_layer() {
    let model = net(&Device::default());
    let (one, _) = inject(&model, &registry(), &lora("a")).unwrap();
    let message = |result: Result<Net, InjectError>| result.unwrap_err().to_string();
    assert_eq!(
        inject(&one, &registry(), &lora("a")).unwrap_err().to_string(),
        "conv_in already has an adapter of the set `a`; give the new set another name"
    );
    let adapter = adapters(&one, "a").unwrap().remove(0);
    let twice = vec![adapter.clone(), adapter.clone()];
    assert!(message(attach(&model, "b", 1.0, twice)).contains("conv_in already has"));
    assert!(message(attach(&model, "b", f64::NAN, vec![])).contains("`b` is NaN"));

    let (site, adapter) = adapter;
    let at = |site| attach(&model, "b", 1.0, vec![(site, adapter.clone())]);
    assert_eq!(
        message(at(Site { path: "conv_on".into(), ..site.clone() })),
        "the model has no 2-d convolution at `conv_on`; nearest: conv_in, out_proj, embed"
    );
    assert_eq!(
        message(at(Site { shape: vec![4, 3, 1, 1], ..site.clone() })),
        "conv_in: the model's 2-d convolution has shape [4, 3, 3, 3], the adapter is for [4, 3, 1, 1]"
    );
    assert!(message(at(Site { kind: SiteKind::Linear, ..site })).contains("no linear layer at"));
}

#[test]
fn a_parameter_of_another_library_is_not_touched() {
    let model = net(&Device::default());
    let model = model.apply_lora(burn::module::Lora::new(2, 2.0));
    let error = inject(&model, &registry(), &lora("a")).unwrap_err().to_string();
    assert!(error.contains("already has the reparameterisation `lora`"), "{error}");
}

#[test]
fn an_error_leaves_the_model_as_it_was() {
    let device = Device::default().autodiff();
    let model = net(&device);
    // A rank-0 rule that comes after layers that would have worked.
    let bad = lora("a")
        .rule(Rule::default())
        .rule(Rule::paths(["**.1.**"]).unwrap().options(toml::toml! { rank = 0 }));
    assert!(inject(&model, &registry(), &bad).is_err());
    assert!(slot::collect(&model).is_empty());
    assert!(model.conv_in.weight.is_require_grad());
}
