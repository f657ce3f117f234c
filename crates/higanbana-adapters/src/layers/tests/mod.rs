//! Both paths against each other and against Burn's own layers.

use burn::{
    module::{Module, Param},
    nn::{self, PaddingConfig2d, conv::Conv2dConfig},
    optim::GradientsParams,
    tensor::{DType, Device, Distribution, Tensor},
};
use higanbana_core::{Features, Op, PathChoice, Slot, slot};

use super::*;
use crate::{
    inject::{Injection, inject},
    registry,
};

mod batches;

fn device() -> Device {
    Device::default().autodiff()
}

fn tensor<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), (&device(), DType::F64))
}

fn linear(input: usize, out: usize) -> Linear {
    Linear {
        weight: Param::from_tensor(tensor([input, out])),
        bias: Some(Param::from_tensor(tensor([out]))),
    }
}

fn conv(groups: usize) -> Conv2d {
    Conv2d {
        weight: Param::from_tensor(tensor([6, 4 / groups, 3, 3])),
        bias: Some(Param::from_tensor(tensor([6]))),
        stride: [2, 2],
        kernel_size: [3, 3],
        dilation: [2, 1],
        groups,
        padding: PaddingConfig2d::Explicit(1, 1, 1, 1),
    }
}

/// Puts an adapter of every set on a layer and replaces all zeros, so that every factor matters.
fn adapted<M: Module>(layer: M, sets: &[(&str, f64, toml::Table)]) -> M {
    struct Fill;
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|old| {
                tensor(old.dims()).mul_scalar(0.3).set_require_grad(old.is_require_grad())
            })
        }
    }
    let mut layer = layer;
    for (set, strength, options) in sets {
        let injection = Injection::new(*set, "lora").strength(*strength).options(options.clone());
        layer = inject(&layer, &registry(), &injection).unwrap().0;
    }
    slot::edit(layer, |slot| {
        for member in &mut slot.members {
            member.adapter = member.adapter.clone().map(&mut Fill);
        }
    })
}

/// Every gradient of `Σ y ∘ c`, of the parameters and of the input, and `y`.
fn outcome<M: Module, const D: usize, const E: usize>(
    model: &M,
    x: &Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> Vec<Vec<f64>> {
    struct Collect<'a>(&'a GradientsParams, Vec<Vec<f64>>);
    impl burn::module::ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push(gradient.into_data().try_to_vec().unwrap());
            }
        }
    }
    let x = x.clone().require_grad();
    let y = forward(model, x.clone());
    let weights = y.clone().detach().sin().add_scalar(0.5);
    let gradients = (y.clone() * weights).sum().backward();
    let of_x = x.grad(&gradients).unwrap();
    let of_parameters = GradientsParams::from_grads(gradients, model);
    let mut collect = Collect(&of_parameters, Vec::new());
    model.visit(&mut collect);
    let mut all = vec![y.into_data().try_to_vec().unwrap(), of_x.into_data().try_to_vec().unwrap()];
    all.append(&mut collect.1);
    all
}

fn deviation(a: &[f64], b: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    difference / norm(&mut b.iter().copied())
}

/// Both paths give the same `count` gradients of adapter parameters, and the same output.
fn assert_paths_agree<M: Module, const D: usize>(
    model: M,
    x: &Tensor<D>,
    count: usize,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D> + Copy,
) {
    let definition = set_path(model.clone(), PathChoice::Definition);
    let shortcut = set_path(model, PathChoice::Shortcut);
    let a = outcome(&definition, x, forward);
    let b = outcome(&shortcut, x, forward);
    assert_eq!((a.len(), b.len()), (count + 2, count + 2));
    for (a, b) in a.iter().zip(&b) {
        assert!(deviation(a, b) < 1e-12, "{} of {}", deviation(a, b), b.len());
    }
}

fn options(text: &str) -> toml::Table {
    text.parse().unwrap()
}

fn takes_shortcut(slot: &Slot, x: &Features, op: &Op) -> bool {
    let w0 = Tensor::zeros([slot.site.out(), slot.site.cols()], (&device(), DType::F64));
    shortcut::shortcut(slot, &w0, x, op).is_some()
}

#[test]
fn linear_paths_agree() {
    let one = [("a", 0.7, options("rank = 2\nalpha = 3.0"))];
    assert_paths_agree(adapted(linear(5, 7), &one), &tensor([2, 3, 5]), 2, |l, x| l.forward(x));
    let scalar = [("a", -1.5, options("rank = 2\nuse_scalar = true"))];
    assert_paths_agree(adapted(linear(5, 7), &scalar), &tensor([4, 5]), 3, |l, x| l.forward(x));
    assert_paths_agree(adapted(linear(5, 7), &scalar), &tensor([5]), 3, |l, x| l.forward(x));
}

#[test]
fn convolution_paths_agree() {
    let x = tensor([2, 4, 9, 8]);
    let plain = [("a", 0.7, options("rank = 2"))];
    assert_paths_agree(adapted(conv(1), &plain), &x, 2, |l, x| l.forward(x));
    let tucker = [("a", 0.7, options("rank = 2\nuse_tucker = true"))];
    assert_paths_agree(adapted(conv(1), &tucker), &x, 3, |l, x| l.forward(x));
}

#[test]
fn stacked_paths_agree() {
    let two = [("a", 0.7, options("rank = 2")), ("b", -0.4, options("rank = 3"))];
    assert_paths_agree(adapted(linear(5, 7), &two), &tensor([2, 3, 5]), 4, |l, x| l.forward(x));
    assert_paths_agree(adapted(conv(1), &two), &tensor([2, 4, 9, 8]), 4, |l, x| l.forward(x));
}

#[test]
fn a_stack_with_an_adapter_without_shortcut_takes_the_definition() {
    let dora = Injection::new("b", "lora+dora").options(options("rank = 2"));
    let (layer, _) = inject(&linear(5, 7), &registry(), &dora).unwrap();
    let layer = adapted(layer, &[("a", 0.7, options("rank = 2"))]);
    assert_paths_agree(layer, &tensor([2, 3, 5]), 5, |l, x| l.forward(x));
}

#[test]
fn grouped_convolutions_fall_back() {
    let layer = adapted(conv(2), &[("a", 0.7, options("rank = 2"))]);
    let op = Op::Conv2d(layer.options(&tensor([1, 4, 9, 8])));
    let mut slot = slot::collect(&layer).remove(0);
    slot.path = PathChoice::Shortcut;
    assert!(!takes_shortcut(&slot, &Features::Maps(tensor([1, 4, 9, 8])), &op));
    assert_paths_agree(layer, &tensor([2, 4, 9, 8]), 2, |l, x| l.forward(x));
}

#[test]
fn a_shortcut_that_groups_allow_is_taken() {
    let layer = conv(2);
    let x = Features::Maps(tensor([2, 4, 9, 8]));
    let op = Op::Conv2d(layer.options(&tensor([2, 4, 9, 8])));
    for (algorithm, options_of, taken) in [
        ("ia3", "", true),
        ("diag-oft", "rank = 1", true),
        ("diag-oft", "rank = 3", false),
        ("ia3", "train_on_input = true", false),
        ("boft", "rank = 6", false),
        ("lora", "rank = 1", false),
    ] {
        let injection = Injection::new("a", algorithm).options(options(options_of));
        let (layer, _) = inject(&layer, &registry(), &injection).unwrap();
        let slot = slot::collect(&layer).remove(0);
        assert_eq!(takes_shortcut(&slot, &x, &op), taken, "{algorithm} {options_of}");
    }
}

#[test]
fn the_cheaper_path_is_taken() {
    let layer = adapted(linear(64, 32), &[("a", 1.0, options("rank = 4"))]);
    let slot = slot::collect(&layer).remove(0);
    // One update: 32 · 4 · 64 = 8192; one position of the shortcut: 4 · (32 + 64) = 384.
    let rows = |n| Features::Rows { x: tensor([n, 64]), batch: n };
    let work = |training| Work::of(&slot, &rows(10), &Op::Linear, training).unwrap();
    assert_eq!(work(false), Work { definition: 8192, shortcut: 3840 });
    let training = Work { definition: 3 * 8192 + 10 * 32 * 64, shortcut: 3 * 3840 };
    assert_eq!(work(true), training);
    assert!(cheaper(&slot, &rows(21), &Op::Linear, false));
    assert!(!cheaper(&slot, &rows(22), &Op::Linear, false));
    assert!(cheaper(&slot, &rows(10_000), &Op::Linear, true));
    assert!(takes_shortcut(&slot, &rows(10_000), &Op::Linear));

    let off = slot::edit(layer, |slot| slot.members[0].strength = 0.0);
    assert!(!takes_shortcut(&slot::collect(&off)[0], &rows(1), &Op::Linear));
}

#[test]
fn layers_compute_what_burns_layers_compute() {
    let device = Device::default();
    let config = nn::LinearConfig::new(5, 7);
    let burn = config.init(&device);
    let ours = Linear::from(burn.clone());
    let x = Tensor::<3>::random([2, 3, 5], Distribution::Default, &device);
    ours.forward(x.clone()).into_data().assert_eq(&burn.forward(x).into_data(), true);

    let paddings =
        [PaddingConfig2d::Valid, PaddingConfig2d::Same, PaddingConfig2d::Explicit(1, 2, 0, 3)];
    for padding in paddings {
        for (kernel, stride, dilation) in [([3, 3], [1, 1], [1, 1]), ([2, 4], [2, 3], [1, 2])] {
            let burn = Conv2dConfig::new([4, 6], kernel)
                .with_stride(stride)
                .with_dilation(dilation)
                .with_groups(2)
                .with_padding(padding.clone())
                .init(&device);
            let ours = Conv2d::from(burn.clone());
            let x = Tensor::<4>::random([2, 4, 9, 10], Distribution::Default, &device);
            ours.forward(x.clone()).into_data().assert_eq(&burn.forward(x).into_data(), true);
        }
    }
}

#[test]
fn layers_read_the_records_of_burns_layers() {
    let device = Device::default();
    let burn = nn::LinearConfig::new(5, 7).init(&device);
    let ours = Linear::new(&nn::LinearConfig::new(5, 7), &device);
    let ours = ours.load_record(burn.clone().into_record());
    ours.weight.val().into_data().assert_eq(&burn.weight.val().into_data(), true);
    let config = Conv2dConfig::new([4, 6], [3, 3]);
    let burn = config.init(&device);
    let ours = Conv2d::new(&config, &device).load_record(burn.clone().into_record());
    ours.weight.val().into_data().assert_eq(&burn.weight.val().into_data(), true);
}
