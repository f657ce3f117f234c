//! Law 01, gamma-equivalence: training with γ is training without it from scaled initial values, at
//! scaled learning rates and hyperparameters.

mod trees;

use burn::tensor::{DType, Device};
use higanbana::{
    lab::gamma::{Answer, GammaError, Network, Question, Start, Subject, rule},
    prelude::*,
    train::{Role, Rule, Scaling, Settings, euler, optimizer, optimizers, scaling::root},
};
use proptest::{prelude::*, sample::Index};

use super::trials::config;
use trees::Tree;

/// Trainings are dear: fewer cases, the same each time.
fn few() -> ProptestConfig {
    ProptestConfig { cases: 48, ..config() }
}

/// Random widths, rank, seed and hyperparameters.
#[derive(Debug, Clone)]
struct Course {
    widths: [usize; 3],
    rank: u32,
    seed: u64,
    /// What pure numbers, ε and decay are multiplied by.
    factors: [f64; 3],
}

fn any_course() -> impl Strategy<Value = Course> {
    let widths = [2..=6usize, 2..=8usize, 2..=6usize].map(|n| n.prop_map(|n| 8 * n));
    (widths, 1..=3u32, any::<u16>(), [0.5..1.0, 1e-4..1e4, 0.1..10.0f64]).prop_map(
        |(widths, rank, seed, factors)| Course { widths, rank, seed: seed.into(), factors },
    )
}

impl Course {
    /// 12 steps with the hyperparameters that are felt.
    fn question<'a>(&self, subject: &'a Subject, rule: &'static Rule, gamma: f64) -> Question<'a> {
        let (widths, seed) = (self.widths, self.seed);
        Question { steps: 12, widths, seed, ..Question::new(subject, rule, gamma) }
    }

    fn settings(&self, rule: &'static Rule) -> Settings {
        let [number, epsilon, decay] = self.factors;
        rule.hyperparameters.iter().fold(rule.settings(), |settings, h| {
            let value = match h.role {
                Role::Number => h.value * number,
                Role::Decay => 0.05 * decay,
                Role::Estimate => 1e-2,
                _ => 1e-4 * epsilon,
            };
            settings.with(h.name, value)
        })
    }
}

/// What comes of a training; sizes that an adapter does not allow are rejected, and trainings that diverge.
fn tried(question: &Question, registry: &Registry) -> Result<Answer, TestCaseError> {
    match question.answer(registry, &Device::default()) {
        Err(error @ (GammaError::Subject(_) | GammaError::Diverged { .. })) => {
            Err(TestCaseError::reject(error.to_string()))
        }
        answer => Ok(answer.unwrap()),
    }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn law_01_powers_of_two_change_no_bit(
        adapter: Index, optimizer: Index, exponent in 1..=4i32, grow: bool, single: bool, own: bool,
        course in any_course(),
    ) {
        let registry = registry();
        let subjects = Subject::all(&registry);
        let subject = adapter.get(&subjects).clone().of_rank(course.rank);
        let rule = optimizer.get(optimizers());
        let base = subject.dyadic_gamma(&registry);
        prop_assume!(base.is_ok());
        let base = base.unwrap().sqrt();
        let gamma = base.powi(if grow { -exponent } else { exponent });
        // Degree 6 and a = 2^4 in f32 is where numbers run out.
        prop_assume!((1e-4..=1e4).contains(&gamma));
        let dtype = if single { DType::F32 } else { DType::F64 };
        // From their own values some magnitudes are too small for f32.
        let start = if own && !single { Start::Own } else { Start::Noise };
        let settings = Some(course.settings(rule));
        let question = course.question(&subject, rule, gamma);
        let question = Question { dtype, start, settings, ..question };
        let answer = tried(&question, &registry)?;
        prop_assert!(answer.bit_exact, "{answer:?}");
    }

    #[test]
    fn law_01_any_gamma_is_equal_up_to_rounding(
        adapter: Index, optimizer: Index, log_gamma in -4.0..4.0f64, course in any_course(),
    ) {
        let registry = registry();
        let subjects = Subject::all(&registry);
        let subject = adapter.get(&subjects).clone().of_rank(course.rank);
        let question = course.question(&subject, optimizer.get(optimizers()), 10f64.powf(log_gamma));
        let answer = tried(&question, &registry)?;
        // The bound holds at gradients of order 1, which is not so for every γ: it is relative.
        prop_assert!(answer.deviation <= answer.bound.unwrap(), "{answer:?}");
    }

    #[test]
    fn law_01_holds_for_maps_built_from_the_algebra(
        tree in 0..trees::COUNT, optimizer: Index, exponent in -2..=2i32, course in any_course(),
    ) {
        prop_assume!(exponent != 0);
        let registry = Registry::empty().with::<Tree>();
        let subject = Subject::named(&registry, &format!("tree:{tree}")).unwrap();
        let rule = optimizer.get(optimizers());
        let gamma = 2f64.powi(exponent * subject.degree(&registry).unwrap() as i32);
        let question = course.question(&subject, rule, gamma);
        let answer = tried(&question, &registry)?;
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
    let question = Question::new(&subject, rule("adamw").unwrap(), 1.0 / 64.0);
    let question = Question { steps: 100, controls: true, ..question };
    let answer = question.answer(&registry, &Device::default()).unwrap();
    assert!(answer.bit_exact && answer.not_applicable.is_empty(), "{answer:?}");
    let names: Vec<_> = answer.controls.keys().copied().collect();
    let all = ["global_clip", "unscaled_decay", "unscaled_eps", "unscaled_threshold", "wrong_c"];
    assert_eq!(names, all);
    assert!(answer.controls.values().all(|deviation| *deviation > 1e-3), "{answer:?}");
    assert!((0.2..=0.8).contains(&answer.clipped), "{answer:?}");
}

#[test]
fn law_01_every_layer_of_the_unet_has_a_gamma_of_its_own() {
    let registry = registry();
    for (adapter, optimizer) in [("lora", "adamw"), ("loha", "sgd"), ("lora+dora", "prodigy")] {
        let subject = Subject::named(&registry, adapter).unwrap();
        let gamma = subject.dyadic_gamma(&registry).unwrap();
        for (gamma, dtype) in [(gamma, DType::F32), (0.3, DType::F64)] {
            let question = Question::new(&subject, rule(optimizer).unwrap(), gamma);
            let (net, steps) = (Network::Unet, 3);
            let question = Question { net, steps, dtype, ..question };
            let answer = question.answer(&registry, &Device::default()).unwrap();
            assert!(answer.deviation <= answer.bound.unwrap(), "{answer:?}");
            assert_eq!(answer.bit_exact, gamma != 0.3, "{answer:?}");
        }
    }
}
