//! Adapters that tell the samples of a batch apart, and adapters with one operation for a layer.

use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor},
};
use higanbana_core::{
    Adapter, AdapterError, Call, Condition, Cost, Degree, DynAdapter, Features, Init, Parts,
    PathChoice, Site, SiteKind, Tensors, slot,
};

use super::{conv, deviation, device, linear, tensor};
use crate::{
    inject::{Injection, attach, inject, sites},
    layers::set_path,
    registry,
};

/// An adapter that each sample of a batch has at its own strength: `y += x (s_n U)ᵀ` for sample `n`;
/// `fused`, it also claims to compute `x (10 W0)ᵀ` in one operation, so that it shows who asked.
#[derive(Module, Debug)]
struct PerSample {
    u: Param<Tensor<2>>,
    s: Param<Tensor<1>>,
    #[module(skip)]
    fused: bool,
}

impl Adapter for PerSample {
    type Config = toml::Table;

    const NAME: &'static str = "per-sample";
    const TITLE: &'static str = "";
    const REFERENCE: &'static str = "";
    const FORMULA: &'static str = "";
    const RANK: &'static str = "";
    const PARAMETERS: &'static str = "";
    const KEYS: &'static [&'static str] = &["u"];
    const SITES: &'static [SiteKind] = SiteKind::WEIGHTS;

    fn new(_: &Site, _: &toml::Table, _: &mut Init) -> Result<Self, AdapterError> {
        unreachable!("it is made by hand")
    }
    fn update(&self, _: &Site, _: &Tensor<2>) -> Tensor<2> {
        assert_eq!(self.s.dims(), [1], "one strength for a weight");
        self.u.val() * self.s.val().unsqueeze()
    }
    fn added(&self, call: &Call, _: &Features) -> Option<Features> {
        let [samples] = self.s.dims();
        let [out, _] = self.u.dims();
        let scales = self.s.val().reshape([samples, 1]).expand([samples, out]);
        Some(call.apply(self.u.val().mul_scalar(call.strength)).scale_each(scales))
    }
    fn forward(&self, call: &Call) -> Option<Features> {
        self.fused.then(|| call.apply(call.w0.clone().mul_scalar(10.0)))
    }
    fn cost(&self, _: &Site, _: usize) -> Option<Cost> {
        Some(Cost { update: usize::MAX, shortcut: 0 })
    }
    fn degree(&self) -> Degree {
        Degree::None { why: "" }
    }
    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }
    fn parameter_count(&self, site: &Site) -> usize {
        site.out() * site.cols() + 1
    }
    fn write(&self, _: &Site) -> Tensors {
        Tensors::new()
    }
    fn read(_: &Site, _: &Parts) -> Result<Self, AdapterError> {
        unreachable!("it is made by hand")
    }
}

impl PerSample {
    fn of(u: &Tensor<2>, s: &[f64], fused: bool) -> DynAdapter {
        let s = Tensor::<1>::from_data(s, (&device(), DType::F64));
        let u = Param::from_tensor(u.clone());
        DynAdapter::new(Self { u, s: Param::from_tensor(s), fused })
    }
}

/// A batch with a strength for each sample equals the samples one at a time, by the definition.
fn assert_samples_agree<M: Module, const D: usize>(
    layer: M,
    x: Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D>,
) {
    let site = sites(&layer).remove(0).site;
    let u = tensor([site.out(), site.cols()]);
    let strengths = [0.5, -2.0, 0.0];
    let with = |s: &[f64], path| {
        let adapter = PerSample::of(&u, s, false);
        set_path(attach(&layer, "s", 0.8, vec![(site.clone(), adapter)]).unwrap(), path)
    };
    let batch = forward(&with(&strengths, PathChoice::Auto), x.clone()).into_data();
    let singles = strengths
        .iter()
        .enumerate()
        .map(|(n, s)| forward(&with(&[*s], PathChoice::Definition), x.clone().narrow(0, n, 1)));
    let singles = Tensor::cat(singles.collect(), 0).into_data();
    let (batch, singles) = (batch.try_to_vec().unwrap(), singles.try_to_vec().unwrap());
    assert!(deviation(&batch, &singles) < 1e-12);
}

#[test]
fn each_sample_has_its_own_scale() {
    assert_samples_agree(linear(5, 7), tensor([3, 2, 5]), |l, x| l.forward(x));
    assert_samples_agree(linear(5, 7), tensor([3, 5]), |l, x| l.forward(x));
    assert_samples_agree(linear(5, 7), tensor([3, 2, 2, 5]), |l, x| l.forward(x));
    assert_samples_agree(conv(1), tensor([3, 4, 9, 8]), |l, x| l.forward(x));
}

/// Samples at timesteps of their own, outside of training and with so many positions that one
/// update would cost less than the shortcut, equal the samples one at a time.
fn assert_timesteps_agree<M: Module, const D: usize>(
    layer: M,
    x: Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<D>,
) {
    let injection = Injection::new("s", "tlora").options(toml::toml! { rank = 4 });
    let (layer, _) = inject(&layer, &registry(), &injection).unwrap();
    let layer = slot::edit(layer, |slot| slot.members[0].adapter = moved(&slot.members[0].adapter));
    let (layer, x) = (layer.valid(), x.inner());
    let at = |timesteps: &[f64]| slot::condition(layer.clone(), &Condition::at(timesteps, 1000.0));
    let timesteps = [950.0, 500.0, 20.0];
    let batch = forward(&at(&timesteps), x.clone());
    let singles = (0..).zip(timesteps).map(|(n, t)| forward(&at(&[t]), x.clone().narrow(0, n, 1)));
    let singles = Tensor::cat(singles.collect(), 0).into_data();
    let (batch, singles) = (batch.into_data().try_to_vec().unwrap(), singles.try_to_vec().unwrap());
    assert!(deviation(&batch, &singles) < 1e-12);
    let first = forward(&at(&timesteps[..1]), x).into_data().try_to_vec().unwrap();
    assert!(deviation(&batch, &first) > 1e-3, "the masks differ");
}

/// An adapter whose every trained value has moved.
fn moved(adapter: &DynAdapter) -> DynAdapter {
    struct Move;
    impl burn::module::ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            param.map(|old| (old.clone() + tensor(old.dims()).mul_scalar(0.3)).detach())
        }
    }
    adapter.clone().map(&mut Move)
}

#[test]
fn each_sample_has_its_own_timestep() {
    assert_timesteps_agree(linear(5, 7), tensor([3, 200, 5]), |l, x| l.forward(x));
    assert_timesteps_agree(conv(1), tensor([3, 4, 30, 30]), |l, x| l.forward(x));
    assert_timesteps_agree(conv(2), tensor([3, 4, 30, 30]), |l, x| l.forward(x));
}

#[test]
fn one_operation_serves_an_adapter_that_is_alone() {
    let layer = linear(5, 7);
    let site = sites(&layer).remove(0).site;
    let u = tensor([7, 5]);
    let add = |layer, set| {
        attach(layer, set, 1.0, vec![(site.clone(), PerSample::of(&u, &[0.5], true))]).unwrap()
    };
    let x = tensor([3, 5]);
    let (w, b) = (layer.weight.val(), layer.bias.as_ref().unwrap().val());
    let expected = |w: Tensor<2>| (x.clone().matmul(w) + b.clone().unsqueeze()).into_data();
    let close = |y: Tensor<2>, expected: burn::tensor::TensorData| {
        let (y, expected) = (y.into_data().try_to_vec().unwrap(), expected.try_to_vec().unwrap());
        deviation(&y, &expected) < 1e-12
    };
    let one = add(&layer, "a");
    assert!(close(one.forward(x.clone()), expected(w.clone().mul_scalar(10.0))));
    let two = add(&one, "b");
    assert!(close(two.forward(x.clone()), expected(w + u.clone().transpose())));
}
