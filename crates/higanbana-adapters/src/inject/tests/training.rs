//! Dropout and the bound on the norm, in a model.

use higanbana_core::{Condition, Training, slot};

use super::*;

fn with(options: toml::Table, device: &Device) -> (Net, Net) {
    let model = net(device);
    let injection = Injection::new("a", "lora").options(options);
    (model.clone(), shake(inject(&model, &registry(), &injection).unwrap().0))
}

/// The model in a step of training.
fn in_step(model: &Net, step: impl Into<Option<u64>>) -> Net {
    slot::condition(model.clone(), &Condition { step: step.into(), ..Condition::default() })
}

/// $W - W_0$ of the first layer, `[out, in·K]`.
fn update(base: &Net, model: &Net) -> Tensor<2> {
    (model.conv_in.weight.val() - base.conv_in.weight.val()).reshape([4, 27])
}

fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.to_data().iter().collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn a_module_is_dropped_whole_or_not_at_all() {
    let device = Device::default();
    let (base, model) = with(toml::toml! { rank = 2 module_dropout = 0.5 }, &device);
    let whole = values(&update(&base, &model));
    let kept = |step| match values(&update(&base, &in_step(&model, step))) {
        update if update == whole => true,
        update => update.iter().all(|x| *x == 0.0).then_some(false).expect("whole or nothing"),
    };
    let kept = (0..64).filter(|step| kept(*step)).count();
    // Four standard deviations around 32.
    assert!((16..=48).contains(&kept), "{kept} of 64");
    assert_eq!(values(&update(&base, &in_step(&model, None))), whole);
}

#[test]
fn rank_dropout_leaves_a_sum_of_the_ranks_that_act() {
    let device = Device::default();
    for (scale, factor) in [(false, 1.0), (true, 2.0)] {
        let mut options = toml::toml! { rank = 2 alpha = 2.0 rank_dropout = 0.5 };
        options.insert("rank_dropout_scale".into(), scale.into());
        let (base, model) = with(options, &device);
        let factors = factors(&model);
        let factor_of = |name: &str, shape| {
            let (_, data) = factors
                .iter()
                .find(|(path, _)| path.starts_with("conv_in") && path.ends_with(name))
                .unwrap();
            Tensor::<2>::from_data(data.clone(), &device).reshape(shape)
        };
        let (up, down) = (factor_of("lora_up", [4, 2]), factor_of("lora_down", [2, 27]));
        let rank = |i| up.clone().narrow(1, i, 1).matmul(down.clone().narrow(0, i, 1));
        let sums = [[0.0, 0.0], [0.0, factor], [factor, 0.0], [factor, factor]]
            .map(|[a, b]| values(&(rank(0).mul_scalar(a) + rank(1).mul_scalar(b))));
        let mut seen = [false; 4];
        for step in 0..32 {
            let update = values(&update(&base, &in_step(&model, step)));
            let index = sums.iter().position(|sum| close(sum, &update));
            seen[index.expect("a sum of ranks")] = true;
        }
        assert_eq!(seen, [true; 4]);
    }
}

#[test]
fn an_adapter_without_ranks_drops_outputs() {
    let device = Device::default();
    let model = net(&device);
    for options in [toml::toml! { rank_dropout = 0.5 }, toml::toml! { dropout = 0.5 }] {
        let factor = if options.contains_key("dropout") { 2.0 } else { 1.0 };
        let injection = Injection::new("a", "full").options(options);
        let adapted = shake(inject(&model, &registry(), &injection).unwrap().0);
        let whole = update(&model, &adapted);
        let whole = values(&whole.mul_scalar(factor));
        let dropped = (0..16).flat_map(|step| {
            let update = values(&update(&model, &in_step(&adapted, step)));
            let silent = |row: &[f32]| row.iter().all(|x| *x == 0.0);
            let rows: Vec<bool> = update.chunks(27).map(silent).collect();
            for (row, (update, whole)) in update.chunks(27).zip(whole.chunks(27)).enumerate() {
                assert!(rows[row] || close(update, whole), "row {row} of step {step}");
            }
            rows
        });
        // Four standard deviations around 32 of 64.
        assert!((16..=48).contains(&dropped.filter(|dropped| *dropped).count()));
    }
}

#[test]
fn dropped_ranks_get_no_gradient() {
    let device = Device::default().autodiff();
    let (base, model) = with(toml::toml! { rank = 2 rank_dropout = 0.5 }, &device);
    let whole = |step| {
        let model = in_step(&model, step);
        let grads = update(&base, &model).square().sum().backward();
        let slot = slot::collect(&model).remove(0);
        let lora = slot.members[0].adapter.downcast::<crate::algorithms::lora::Lora>().unwrap();
        let up = lora.lora_up.val().grad(&grads).unwrap();
        values(&up.square().sum_dim(0)).iter().map(|g| *g > 0.0).collect::<Vec<_>>()
    };
    let seen: std::collections::BTreeSet<_> = (0..32).map(whole).collect();
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_bound_on_the_norm_is_kept_by_all_factors_alike() {
    let device = Device::default().autodiff();
    for algorithm in ["lora", "loha", "lokr", "glora", "full", "ia3", "norm"] {
        let model = net(&device);
        let injection = Injection::new("a", algorithm).options(toml::toml! { max_norm = 0.01 });
        let adapted = shake(inject(&model, &registry(), &injection).unwrap().0);
        let before = slot::collect(&adapted);
        let (limited, norms) = limit_norms(&adapted);
        let after = slot::collect(&limited);
        let w0s: Vec<_> = sites(&model);
        let mut scaled = 0;
        for (before, after) in before.iter().zip(&after) {
            let w0 = w0s.iter().find(|found| found.site == before.site).unwrap().matrix();
            let update = |slot: &higanbana_core::Slot| {
                slot.members[0].adapter.update_at(&slot.site, &w0, 1.0)
            };
            let (old, new) = (update(before), update(after));
            let norm = |x: &Tensor<2>| x.clone().square().sum().sqrt().into_scalar::<f32>();
            let ratio = (0.01 / norm(&old)).min(1.0);
            scaled += usize::from(ratio < 1.0);
            assert!(norm(&new) <= 0.01 * (1.0 + 1e-5), "{algorithm}: {}", norm(&new));
            assert!(norm(&(old.mul_scalar(ratio) - new)) < 1e-6, "{algorithm}");
        }
        assert!(scaled > 0 && scaled == norms.scaled, "{algorithm}: {norms:?}");
        assert!((norms.largest - 0.01).abs() < 1e-6 && norms.mean < norms.largest + 1e-9);
        // What is trained goes on being trained.
        assert!(limit_norms(&limited).1.largest <= 0.01 * (1.0 + 1e-6));
        let trained = |model: &Net| {
            slot::collect(model).iter().map(|s| s.members[0].adapter.num_params()).sum::<usize>()
        };
        assert_eq!(trained(&limited), trained(&adapted));
    }
}

#[test]
fn a_frozen_adapter_is_left_as_it_is() {
    let device = Device::default().autodiff();
    let injection = lora("a").options(toml::toml! { max_norm = 0.01 });
    let (model, _) = inject(&net(&device), &registry(), &injection).unwrap();
    let frozen = freeze(&shake(model), "a").unwrap();
    let (limited, norms) = limit_norms(&frozen);
    assert_eq!(norms, Norms::default());
    assert_eq!(factors(&limited), factors(&frozen));
}

#[test]
fn a_bound_in_the_midst_of_a_step_is_on_the_whole_update() {
    let device = Device::default().autodiff();
    let injection = Injection::new("a", "dylora")
        .options(toml::toml! { rank = 4 block_size = 1 max_norm = 0.01 });
    let base = net(&device);
    let (model, _) = inject(&base, &registry(), &injection).unwrap();
    let model = shake(model);
    for step in 0..4 {
        let (limited, _) = limit_norms(&in_step(&model, step));
        let whole = in_step(&limited, None);
        let norm = update(&base, &whole).square().sum().sqrt().into_scalar::<f32>();
        assert!((norm - 0.01).abs() < 1e-6, "step {step}: {norm}");
    }
}

#[test]
fn every_option_acts_or_is_refused_when_it_is_parsed() {
    let (device, registry) = (Device::default().autodiff(), registry());
    let (base, x) = (net(&device), input(&device));
    for kind in registry.iter() {
        let site = if kind.sites().contains(&SiteKind::Conv2d) { "conv_in" } else { "**.norm" };
        // Sizes that leave each algorithm something to do on few rows.
        let mut own = toml::toml! { rank = 2 block_size = 1 };
        own.retain(|name, _| kind.defaults().contains_key(name));
        for (option, _) in Training::OPTIONS {
            let mut options = own.clone();
            options.insert("rank_dropout".into(), 0.5.into());
            let without = match option {
                "rank_dropout" => Training::default(),
                _ => kind.parse(&options).unwrap().1,
            };
            let value = match option {
                "rank_dropout_scale" => true.into(),
                "max_norm" => 0.01.into(),
                _ => 0.5.into(),
            };
            options.insert(option.into(), value);
            let injection = Injection::new("a", kind.name())
                .options(options)
                .rule(Rule::paths([site]).unwrap());
            let name = kind.name();
            if let Err(error) = injection.check(&registry) {
                let reason =
                    format!("options of {name}: {option} scales the tensors of an update ");
                assert!(error.to_string().starts_with(&reason), "{error}");
                assert_eq!((option, kind.degree().unwrap().total()), ("max_norm", None), "{name}");
                continue;
            }
            let model = shake(inject(&base, &registry, &injection).unwrap().0);
            let plain = slot::edit(model.clone(), |slot| slot.members[0].training = without);
            let act = |model: &Net, step| {
                values(&in_step(&limit_norms(model).0, step).forward(x.clone()))
            };
            let acts = (0..16).any(|step| act(&model, step) != act(&plain, step));
            assert!(acts, "{name} ignores {option}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let model = net(&Device::default());
    let injection = lora("a").options(toml::toml! { dropout = 2.0 });
    let error = inject(&model, &registry(), &injection).unwrap_err().to_string();
    assert_eq!(error, "options of lora: dropout is 2, give a probability below 1");
}

#[test]
fn a_rule_may_train_its_layers_differently() {
    let model = net(&Device::default());
    let rule = Rule::default().layers([LayerKind::Conv]).options(toml::toml! { dropout = 0.5 });
    let injection = lora("a").rule(Rule::default()).rule(rule);
    let adapted = inject(&model, &registry(), &injection).unwrap().0;
    let dropouts: Vec<f64> =
        slot::collect(&adapted).iter().map(|slot| slot.members[0].training.dropout).collect();
    assert_eq!(dropouts.iter().filter(|dropout| **dropout == 0.5).count(), 1);
    assert_eq!(dropouts.len(), 11);
}
