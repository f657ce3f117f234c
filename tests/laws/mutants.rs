//! Each law is shown able to fail: an adapter with one thing broken, and the laws that say so.

mod faults;

use std::{collections::BTreeSet, fmt::Debug, marker::PhantomData};

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use higanbana::{
    adapters::{algorithms::lora::Lora, scale::LowRankConfig},
    laws::{self, LAWS},
    prelude::*,
};

/// One thing broken; everything else is the algorithm underneath.
trait Fault: Debug + Clone + Send + Sync + 'static {
    /// The laws that it breaks, and no others.
    const BREAKS: &'static [&'static str];

    fn accepts(_site: &Site) -> bool {
        true
    }
    fn begin(inner: Lora) -> Lora {
        inner
    }
    fn detects() -> bool {
        true
    }
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        mutant.inner.update(site, w0)
    }
    fn update_at(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        Self::update(mutant, site, w0).mul_scalar(strength)
    }
    fn strength_degree() -> usize {
        1
    }
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        mutant.inner.added(call, y0)
    }
    fn forward(_mutant: &Mutant<Self>, _call: &Call) -> Option<Features> {
        None
    }
    fn cost(mutant: &Mutant<Self>, site: &Site, groups: usize) -> Option<Cost> {
        mutant.inner.cost(site, groups)
    }
    fn degree(mutant: &Mutant<Self>) -> Degree {
        mutant.inner.degree()
    }
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        Self::update(mutant, site, w0).mul_scalar(gamma)
    }
    fn rank_bound(mutant: &Mutant<Self>, site: &Site) -> usize {
        mutant.inner.rank_bound(site)
    }
    fn parameter_count(mutant: &Mutant<Self>, site: &Site) -> usize {
        mutant.inner.parameter_count(site)
    }
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        mutant.inner.write(site)
    }
    fn weigh_ranks(inner: &Lora, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Lora> {
        inner.weigh_ranks(weights)
    }
}

#[derive(Module, Debug)]
struct Mutant<F: Fault> {
    inner: Lora,
    #[module(skip)]
    condition: Condition,
    #[module(skip)]
    fault: PhantomData<F>,
}

impl<F: Fault> Mutant<F> {
    fn of(inner: Lora) -> Self {
        Self { inner, condition: Condition::default(), fault: PhantomData }
    }
}

impl<F: Fault> Adapter for Mutant<F> {
    type Config = LowRankConfig;

    const NAME: &'static str = "mutant";
    const TITLE: &'static str = "Mutant";
    const REFERENCE: &'static str = "none";
    const FORMULA: &'static str = "";
    const RANK: &'static str = "";
    const PARAMETERS: &'static str = "";
    const KEYS: &'static [&'static str] = Lora::KEYS;

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        F::detects() && Lora::detect(kind, tensors)
    }
    fn new(site: &Site, config: &LowRankConfig, init: &mut Init) -> Result<Self, AdapterError> {
        if !F::accepts(site) {
            return Err(AdapterError::option(site, "refused"));
        }
        Lora::new(site, config, init).map(F::begin).map(Self::of)
    }
    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        F::update(self, site, w0)
    }
    fn update_at(&self, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        F::update_at(self, site, w0, strength)
    }
    fn strength_degree(&self) -> usize {
        F::strength_degree()
    }
    fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        F::added(self, call, y0)
    }
    fn forward(&self, call: &Call) -> Option<Features> {
        F::forward(self, call)
    }
    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        F::cost(self, site, groups)
    }
    fn degree(&self) -> Degree {
        F::degree(self)
    }
    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        F::update_gamma(self, site, w0, gamma)
    }
    fn rank_bound(&self, site: &Site) -> usize {
        F::rank_bound(self, site)
    }
    fn parameter_count(&self, site: &Site) -> usize {
        F::parameter_count(self, site)
    }
    fn write(&self, site: &Site) -> Tensors {
        F::write(self, site)
    }
    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        Lora::read(site, parts).map(Self::of)
    }
    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        Some(Self { inner: F::weigh_ranks(&self.inner, weights)?, ..self.clone() })
    }
    fn condition(&mut self, condition: &Condition) {
        self.condition = condition.clone();
    }
}

/// The laws that an adapter with this fault is found to break.
fn broken<F: Fault>() -> BTreeSet<&'static str> {
    let registry = Registry::empty().with::<Mutant<F>>();
    let violations = laws::battery(&registry, &Device::flex(), DType::F64);
    violations.into_iter().map(|violation| violation.law).collect()
}

macro_rules! mutants {
    ($($test:ident $fault:ident)*) => {
        $(#[test]
        fn $test() {
            let expected = faults::$fault::BREAKS.iter().copied().collect();
            assert_eq!(broken::<faults::$fault>(), expected);
        })*

        #[test]
        fn every_law_can_fail() {
            let broken: BTreeSet<_> = [$(faults::$fault::BREAKS),*].concat().into_iter().collect();
            let laws: BTreeSet<_> = LAWS.iter().map(|law| law.name).chain(["coverage"]).collect();
            assert_eq!(broken, laws);
        }
    };
}

mutants! {
    without_a_fault_no_law_is_broken Nothing
    a_start_that_no_seed_decides DrawsStart
    a_start_that_moves_one_bit StartsMoved
    a_strength_that_is_squared SquaresStrength
    a_strength_that_is_never_off NeverOff
    a_strength_of_too_large_a_degree OverstatesStrength
    an_update_that_changes_from_call_to_call DrawsAnew
    a_shortcut_that_is_scaled ScalesShortcut
    a_shortcut_without_a_gradient DetachesShortcut
    a_fused_layer_without_its_strength ForgetsStrength
    a_shortcut_without_a_cost HidesCost
    a_batch_at_one_timestep OneTimestepForAll
    a_gradient_that_is_doubled DoublesGradient
    a_file_without_a_tensor LosesTensor
    a_file_without_its_alpha LosesAlpha
    a_file_that_is_scaled ScalesFile
    a_file_with_a_stray_tensor WritesUnread
    a_file_that_nothing_recognises Unrecognised
    a_dropout_that_scales_what_it_keeps ScalesRanks
    a_parameter_too_many CountsOneMore
    a_rank_too_few BoundsTooLow
    a_rank_that_cannot_be BoundsTooHigh
    an_exponent_that_is_wrong WrongExponent
    an_exponent_that_is_missing ForgetsExponent
    a_gamma_that_is_rounded RoundsGamma
    a_degree_inside_that_is_right Inside
    an_exponent_inside_that_is_wrong WrongInside
    a_gamma_that_is_not_inside OutsideGamma
    a_degree_that_is_denied DeniesDegree
    a_convolution_of_one_tap_that_is_no_linear_layer ScalesConvolutions
    a_site_that_is_refused RefusesSite
    an_adapter_that_never_acts NeverActs
    an_update_that_panics Panics
}
