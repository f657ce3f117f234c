//! Law 01, gamma-equivalence: training with γ is training without it from scaled initial values, at
//! scaled learning rates and hyperparameters.

mod trees;

use burn::tensor::{DType, Device};
use higanbana::{
    lab::gamma::{Answer, GammaError, Question, Start, Subject, rule},
    prelude::*,
    train::{Rule, Scaling, euler, optimizer, optimizers, scaling::root},
};
use proptest::{prelude::*, sample::Index};

use super::trials::config;
use trees::Tree;

/// Trainings are dear: fewer cases, the same each time.
fn few() -> ProptestConfig {
    ProptestConfig { cases: 48, ..config() }
}

fn answer(
    registry: &Registry,
    subject: &Subject,
    rule: &'static Rule,
    gamma: f64,
    dtype: DType,
    (start, seed): (Start, u16),
) -> Result<Answer, GammaError> {
    let (steps, seed) = (12, seed.into());
    let question = Question { subject, rule, gamma, dtype, steps, seed, start, controls: false };
    question.answer(registry, &Device::default())
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn law_01_powers_of_two_change_no_bit(
        adapter: Index, optimizer: Index, exponent in 1..=4i32, grow: bool, single: bool, own: bool, seed: u16,
    ) {
        let registry = registry();
        let subjects = Subject::all(&registry);
        let (subject, rule) = (adapter.get(&subjects), optimizer.get(optimizers()));
        let base = subject.dyadic_gamma(&registry).unwrap().sqrt();
        let gamma = base.powi(if grow { -exponent } else { exponent });
        // Degree 6 and a = 2^4 in f32 is where numbers run out.
        prop_assume!((1e-4..=1e4).contains(&gamma));
        let dtype = if single { DType::F32 } else { DType::F64 };
        // From their own values some magnitudes are too small for f32.
        let start = if own && !single { Start::Own } else { Start::Noise };
        let answer = answer(&registry, subject, rule, gamma, dtype, (start, seed)).unwrap();
        prop_assert!(answer.bit_exact, "{answer:?}");
    }

    #[test]
    fn law_01_any_gamma_is_equal_up_to_rounding(
        adapter: Index, optimizer: Index, log_gamma in -4.0..4.0f64, seed: u16,
    ) {
        let registry = registry();
        let subjects = Subject::all(&registry);
        let (subject, rule) = (adapter.get(&subjects), optimizer.get(optimizers()));
        let gamma = 10f64.powf(log_gamma);
        let answer = answer(&registry, subject, rule, gamma, DType::F64, (Start::Noise, seed)).unwrap();
        // The bound holds at gradients of order 1, which is not so for every γ: it is relative.
        prop_assert!(answer.deviation <= answer.bound.unwrap(), "{answer:?}");
    }

    #[test]
    fn law_01_holds_for_maps_built_from_the_algebra(
        tree in 0..trees::COUNT, optimizer: Index, exponent in -2..=2i32, seed: u16,
    ) {
        prop_assume!(exponent != 0);
        let registry = Registry::empty().with::<Tree>();
        let subject = Subject::named(&registry, &format!("tree:{tree}")).unwrap();
        let rule = optimizer.get(optimizers());
        let Degree::Update(exponents) = subject.degree(&registry).unwrap() else { panic!() };
        let gamma = 2f64.powi(exponent * exponents[0].1 as i32);
        let answer = answer(&registry, &subject, rule, gamma, DType::F64, (Start::Noise, seed)).unwrap();
        prop_assert!(answer.bit_exact, "{answer:?}");
    }

    #[test]
    fn law_01_roots_multiply_back(m in 1..=8u32, exponent in -60..=60i32, gamma in 1e-4..1e4f64) {
        let power = 2f64.powi(exponent * m as i32);
        prop_assert_eq!(root(power, m).unwrap(), 2f64.powi(exponent));
        let back = root(gamma, m).unwrap().powi(m as i32);
        prop_assert!((back / gamma - 1.0).abs() < 1e-14, "{back} for {gamma}");
    }
}

#[test]
fn law_01_euler_finds_the_degrees_that_adapters_state() {
    let registry = registry();
    let device = Device::default();
    let site = Site::new("layer", SiteKind::Linear, [32, 16]);
    for kind in registry.iter().filter(|kind| kind.sites().contains(&SiteKind::Linear)) {
        let zeros = burn::tensor::Tensor::zeros([1, 1], (&device, DType::F64));
        let w0 = Init::new(&site, zeros, 3).normal([32, 16], 0.3);
        let mut init = Init::new(&site, w0.clone(), 1);
        let adapter = kind.build(&site, &toml::Table::new(), &mut init).unwrap();
        let found = euler::exponents(&adapter, &site, &w0, 5);
        match adapter.degree() {
            Degree::Update(stated) => {
                let found = found.unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
                let sum: f64 = stated
                    .iter()
                    .map(|(names, d)| {
                        // Names that are scaled together share their exponent.
                        let name = names.split('+').next().unwrap();
                        f64::from(*d) * found.iter().find(|(known, _)| known == name).unwrap().1
                    })
                    .sum();
                assert!((sum - 1.0).abs() < 1e-9, "{}: {found:?}", kind.name());
            }
            _ => assert!(found.is_err(), "{}: {found:?}", kind.name()),
        }
    }
}

#[test]
fn law_01_is_broken_by_the_wrong_degree() {
    // The same trainings with the degree of another adapter: nothing is equal any more.
    let degree = Degree::Update(vec![("lora_up", 1), ("lora_down", 2)]);
    let right = Degree::Update(vec![("lora_up", 1), ("lora_down", 1)]);
    let sgd = optimizer("sgd").unwrap();
    let [wrong, right] =
        [degree, right].map(|degree| Scaling::for_gamma(&degree, sgd, 1.0 / 64.0).unwrap());
    assert_eq!((right.rate(0), wrong.rate(0)), (1.0 / 64.0, 1.0 / 16.0));
}

#[test]
fn law_01_controls_show() {
    let registry = registry();
    let subject = Subject::named(&registry, "lokr").unwrap();
    let question = Question {
        subject: &subject,
        rule: rule("adamw").unwrap(),
        gamma: 1.0 / 64.0,
        dtype: DType::F64,
        steps: 100,
        seed: 0,
        start: Start::Noise,
        controls: true,
    };
    let answer = question.answer(&registry, &Device::default()).unwrap();
    assert!(answer.bit_exact && answer.not_applicable.is_empty(), "{answer:?}");
    let names: Vec<_> = answer.controls.keys().copied().collect();
    let all = ["global_clip", "unscaled_decay", "unscaled_eps", "unscaled_threshold", "wrong_c"];
    assert_eq!(names, all);
    assert!(answer.controls.values().all(|deviation| *deviation > 1e-3), "{answer:?}");
    assert!((0.2..=0.8).contains(&answer.clipped), "{answer:?}");
}
