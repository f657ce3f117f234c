//! Each law is shown able to fail: an adapter with one thing broken, and the laws that say so. What
//! laws find of faults outside of adapters is tested beside them, in `src/laws/tests.rs`.

#[macro_use]
mod faults;
mod claims;
mod formulas;
mod numbers;
mod shortcuts;

use std::{collections::BTreeSet, fmt::Debug, marker::PhantomData};

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use higanbana::{
    adapters::algorithms::lora::Lora,
    laws::{self, LAWS},
    prelude::*,
};

/// One thing broken; everything else is the algorithm underneath.
trait Fault: Debug + Clone + Send + Sync + 'static {
    /// The algorithm underneath.
    type Of: Adapter;

    /// The laws that it breaks, and no others.
    const BREAKS: &'static [&'static str];
    /// Sets of options under which it is tried, besides the defaults.
    const VARIANTS: &'static [Variant] = &[];

    fn accepts(_site: &Site) -> bool {
        true
    }
    fn new(
        site: &Site,
        config: &<Self::Of as Adapter>::Config,
        init: &mut Init,
    ) -> Result<Self::Of, AdapterError> {
        Self::Of::new(site, config, init).map(Self::begin)
    }
    fn begin(inner: Self::Of) -> Self::Of {
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
    fn strength_degree(mutant: &Mutant<Self>) -> usize {
        mutant.inner.strength_degree()
    }
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        mutant.inner.added(call, y0)
    }
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        mutant.inner.forward(call)
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
    fn keeps_singular_values(mutant: &Mutant<Self>) -> bool {
        mutant.inner.keeps_singular_values()
    }
    fn parameter_count(mutant: &Mutant<Self>, site: &Site) -> usize {
        mutant.inner.parameter_count(site)
    }
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        mutant.inner.write(site)
    }
    fn read(site: &Site, parts: &Parts) -> Result<Self::Of, AdapterError> {
        Self::Of::read(site, parts)
    }
    fn sum(_site: &Site, _terms: &[(f64, &Self::Of)]) -> Option<Self::Of> {
        None
    }
    fn with_alpha(_inner: &Self::Of, _alpha: f64) -> Option<Self::Of> {
        None
    }
    fn weigh_ranks(
        inner: &Self::Of,
        weights: &mut dyn FnMut(usize) -> Tensor<1>,
    ) -> Option<Self::Of> {
        inner.weigh_ranks(weights)
    }
}

#[derive(Module, Debug)]
struct Mutant<F: Fault> {
    inner: F::Of,
    #[module(skip)]
    condition: Condition,
    #[module(skip)]
    fault: PhantomData<F>,
}

impl<F: Fault> Mutant<F> {
    fn of(inner: F::Of) -> Self {
        Self { inner, condition: Condition::default(), fault: PhantomData }
    }
}

impl<F: Fault> Adapter for Mutant<F> {
    type Config = <F::Of as Adapter>::Config;

    const NAME: &'static str = "mutant";
    const TITLE: &'static str = "Mutant";
    const REFERENCE: &'static str = "none";
    const FORMULA: &'static str = "";
    const RANK: &'static str = "";
    const PARAMETERS: &'static str = "";
    const KEYS: &'static [&'static str] = F::Of::KEYS;
    const SITES: &'static [SiteKind] = F::Of::SITES;
    const NEEDS_BASE: bool = F::Of::NEEDS_BASE;
    const VARIANTS: &'static [Variant] = F::VARIANTS;

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        F::detects() && F::Of::detect(kind, tensors)
    }
    fn new(site: &Site, config: &Self::Config, init: &mut Init) -> Result<Self, AdapterError> {
        if !F::accepts(site) {
            return Err(AdapterError::option(site, "refused"));
        }
        F::new(site, config, init).map(Self::of)
    }
    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        F::update(self, site, w0)
    }
    fn update_at(&self, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        F::update_at(self, site, w0, strength)
    }
    fn strength_degree(&self) -> usize {
        F::strength_degree(self)
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
    fn keeps_singular_values(&self) -> bool {
        F::keeps_singular_values(self)
    }
    fn parameter_count(&self, site: &Site) -> usize {
        F::parameter_count(self, site)
    }
    fn write(&self, site: &Site) -> Tensors {
        F::write(self, site)
    }
    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        F::read(site, parts).map(Self::of)
    }
    fn sum(site: &Site, terms: &[(f64, &Self)]) -> Option<Self> {
        let terms: Vec<_> = terms.iter().map(|(strength, it)| (*strength, &it.inner)).collect();
        F::sum(site, &terms).map(Self::of)
    }
    fn with_alpha(&self, alpha: f64) -> Option<Self> {
        F::with_alpha(&self.inner, alpha).map(Self::of)
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

/// A file of LoRA's that another algorithm takes for its own, which reads it otherwise: that is told of LoRA, too.
#[test]
fn a_file_that_another_reads_otherwise() {
    let registry = Registry::empty().with::<Lora>().with::<Mutant<claims::ReadsTwice>>();
    let violations = laws::battery(&registry, &Device::flex(), DType::F64);
    let of_lora = violations.iter().filter(|violation| violation.subject.starts_with("lora:"));
    let laws: BTreeSet<_> = of_lora.map(|violation| violation.law).collect();
    assert_eq!(laws, BTreeSet::from(["files"]));
}

macro_rules! mutants {
    ($($test:ident $module:ident::$fault:ident)*) => {
        $(#[test]
        fn $test() {
            let expected = $module::$fault::BREAKS.iter().copied().collect();
            assert_eq!(broken::<$module::$fault>(), expected);
        })*

        #[test]
        fn every_law_can_fail() {
            let broken: BTreeSet<_> = [$($module::$fault::BREAKS),*].concat().into_iter().collect();
            let laws: BTreeSet<_> = LAWS.iter().map(|law| law.name).chain(["coverage"]).collect();
            assert_eq!(broken, laws);
        }
    };
}

mutants! {
    without_a_fault_no_law_is_broken faults::Nothing
    a_start_that_no_seed_decides faults::DrawsStart
    a_start_that_moves_one_bit faults::StartsMoved
    a_strength_that_is_squared faults::SquaresStrength
    a_strength_that_is_never_off faults::NeverOff
    a_strength_of_too_large_a_degree faults::OverstatesStrength
    an_update_that_changes_from_call_to_call faults::DrawsAnew
    a_shortcut_that_is_scaled faults::ScalesShortcut
    a_shortcut_without_a_gradient faults::DetachesShortcut
    a_fused_layer_without_its_strength faults::ForgetsStrength
    a_fused_layer_without_a_gradient faults::DetachesFused
    a_shortcut_without_a_cost faults::HidesCost
    a_batch_at_one_timestep faults::OneTimestepForAll
    a_gradient_that_is_doubled faults::DoublesGradient
    a_file_without_a_tensor faults::LosesTensor
    a_file_without_its_alpha faults::LosesAlpha
    a_file_that_is_scaled faults::ScalesFile
    a_file_with_a_stray_tensor faults::WritesUnread
    a_file_that_nothing_recognises faults::Unrecognised
    a_file_of_another_layer_that_panics faults::TakesSizes
    a_dropout_that_scales_what_it_keeps faults::ScalesRanks
    a_sum_without_strengths faults::AddsAtFullStrength
    an_alpha_that_was_not_asked_for faults::WritesAnotherAlpha
    a_parameter_too_many faults::CountsOneMore
    a_rank_too_few faults::BoundsTooLow
    a_rank_that_cannot_be faults::BoundsTooHigh
    an_exponent_that_is_wrong faults::WrongExponent
    an_exponent_that_is_missing faults::ForgetsExponent
    a_gamma_that_is_rounded faults::RoundsGamma
    a_degree_inside_that_is_right faults::Inside
    an_exponent_inside_that_is_wrong faults::WrongInside
    a_gamma_that_is_not_inside faults::OutsideGamma
    a_degree_that_is_denied faults::DeniesDegree
    a_convolution_of_one_tap_that_is_no_linear_layer faults::ScalesConvolutions
    a_site_that_is_refused faults::RefusesSite
    a_set_of_options_that_is_refused claims::RefusesSet
    a_constructor_that_fails_on_some_layers claims::FailsOnWide
    an_alpha_that_is_divided_by_the_rank_though_it_is_0 claims::DividesZero
    another_alpha_that_is_another_update claims::ChangesWithAlpha
    a_start_that_moves_between_the_strengths_0_and_1 claims::MovesBetween
    a_gamma_that_is_not_the_update_at_1 claims::ScalesGamma
    a_degree_inside_of_what_has_one_itself claims::NeedlessInside
    a_degree_that_is_one_of_all_factors_together_alone claims::OfTwoKinds
    a_convolution_that_comes_back_as_another_linear_layer claims::ComesBackScaled
    a_probe_that_panics claims::PanicsWhenProbed
    a_file_that_is_read_at_twice_its_size claims::ReadsTwice
    a_shortcut_of_a_new_adapter_that_moves_the_output shortcuts::MovesShortcut
    a_fused_layer_of_a_new_adapter_that_moves_the_output shortcuts::MovesFused
    a_cost_without_a_shortcut shortcuts::ClaimsShortcut
    a_shortcut_that_a_new_adapter_takes_without_a_gradient shortcuts::SkipsNew
    a_shortcut_without_a_gradient_by_the_input shortcuts::DetachesInput
    a_fused_batch_at_one_timestep shortcuts::OneTimestepFused
    an_update_that_is_no_number numbers::GivesNan
    an_update_that_is_infinite numbers::GivesInfinity
    a_gradient_that_is_no_number numbers::LosesGradient
    an_adapter_that_never_acts faults::NeverActs
    an_update_that_panics faults::Panics
    a_rotation_to_first_order formulas::TurnsToFirstOrder
    a_rotation_that_is_shrunk_in_place_of_its_generator formulas::ShrinksRotation
    a_butterfly_that_turns_too_far formulas::TurnsTooFar
    a_rotation_that_is_denied formulas::DeniesRotation
    an_update_that_is_no_rotation formulas::ClaimsRotation
    a_hadamard_update_with_a_factor_outside_the_graph formulas::DetachesFactor
    a_hadamard_layer_with_a_wrong_backward formulas::DoublesBackward
    a_tucker_core_with_its_ranks_exchanged formulas::ExchangesCore
    a_kronecker_rank_that_is_a_sum formulas::AddsRanks
}
