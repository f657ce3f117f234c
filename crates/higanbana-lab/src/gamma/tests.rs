//! What the theorem says beyond the table: directions, shared tensors, code of others, and the committed cells.

mod committed;
mod directions;
mod shared;

use higanbana_adapters::algorithms::lora::Lora;
use higanbana_core::Registry;
use higanbana_train::optimizers;

use super::{Answer, Chapter, GammaError, Plan, Question, Start, Subject, page, rule};
use crate::experiment::Lab;

fn lab() -> Lab {
    Lab::new(burn::tensor::Device::flex())
}

/// The answer of a cell of the small network with a change to its question.
fn answer(
    [adapter, optimizer]: [&str; 2],
    change: impl Fn(&mut Question),
) -> Result<Answer, GammaError> {
    let lab = lab();
    let subject = Subject::named(&lab.adapters, adapter).unwrap();
    let gamma = subject.dyadic_gamma(&lab.adapters).unwrap();
    let mut question = Question::new(&subject, rule(optimizer).unwrap(), gamma);
    change(&mut question);
    question.answer(&lab.adapters, &lab.device)
}

#[test]
fn every_optimizer_trains_from_an_own_start_or_says_why_not() {
    let own = |q: &mut Question| {
        q.steps = 6;
        q.start = Start::Own;
    };
    for rule in optimizers() {
        let lora = answer(["lora", rule.name], own).unwrap();
        assert!(lora.start == Start::Own && lora.bit_exact, "{lora:?}");
        // The factor that starts from zeros stays where its steps do not scale, and the other takes up all.
        let alone = [0.0625, 1.0];
        let factors = if rule.needs_nonzero.is_some() { &alone[..] } else { &[0.25] };
        assert_eq!(lora.factors, factors, "{}", rule.name);
        match answer(["full", rule.name], own) {
            Ok(full) => assert!(full.start == Start::Own && full.bit_exact, "{full:?}"),
            Err(GammaError::Outside { reason, .. }) => {
                assert!(
                    rule.needs_nonzero.is_some() && reason.contains("starts from zeros"),
                    "{reason}"
                );
            }
            Err(error) => panic!("{}: {error}", rule.name),
        }
    }
}

#[test]
fn hyperparameters_with_few_bits_bound_what_they_round() {
    // Weight decay of 1e-42 in the training with γ: a subnormal f32.
    let small = |q: &mut Question| {
        q.gamma = 1e-20;
        q.steps = 20;
    };
    let adam = answer(["full", "adam"], small).unwrap();
    assert!(adam.rounding > 1e-6 && adam.bound.unwrap() >= adam.rounding, "{adam:?}");
    assert!(adam.holds(), "{adam:?}");
    // 1e-6 times 1e-40 is no f32 at all.
    match answer(["full", "adafactor"], small) {
        Err(GammaError::Outside { reason, .. }) => assert!(reason.starts_with("eps_1 would be")),
        other => panic!("{other:?}"),
    }
    let exact = answer(["full", "adam"], |q: &mut Question| {
        q.steps = 3;
    })
    .unwrap();
    assert_eq!((exact.rounding, exact.bound), (0.0, Some(0.0)));
}

#[test]
fn controls_are_judged_or_too_weak() {
    let near_1 = |q: &mut Question| {
        q.gamma = 0.99;
        q.controls = true;
        q.steps = 20;
    };
    let near_1 = answer(["ia3", "adamw"], near_1).unwrap();
    let blind: Vec<_> = near_1.controls.iter().filter(|(_, by)| **by <= 1e-3).collect();
    assert!(!blind.is_empty(), "{near_1:?}");
    for (name, _) in blind {
        assert!(near_1.weak[name].starts_with("too weak at this gamma"), "{near_1:?}");
    }
    assert!(near_1.holds());
    let weak = near_1.weak.clone();
    let judged = Answer { weak: Default::default(), ..near_1 };
    assert_eq!(judged.contradictions().len(), weak.len());
}

#[test]
fn a_real_alpha_is_gamma() {
    for (adapter, apart) in [("lora", false), ("lokr+dora", false), ("tlora", true)] {
        let alpha = |q: &mut Question| {
            q.alpha = true;
            q.steps = 20;
        };
        let alpha = answer([adapter, "adamw"], alpha).unwrap().alpha.unwrap();
        assert_eq!(
            (alpha.bit_exact, alpha.apart.is_some()),
            (!apart, apart),
            "{adapter}: {alpha:?}"
        );
        assert_eq!(alpha.path < 1e-12, !apart, "{adapter}: {alpha:?}");
    }
    for adapter in ["full", "lokr:full_matrix"] {
        let alpha = |q: &mut Question| {
            q.alpha = true;
            q.steps = 1;
        };
        let answer = answer([adapter, "adamw"], alpha).unwrap();
        assert!(answer.alpha.is_none() && answer.no_alpha.is_some(), "{answer:?}");
    }
}

#[test]
fn a_panic_is_the_error_of_its_cell() {
    let lab = lab();
    let subject = Subject::named(&lab.adapters, "lora").unwrap();
    let work = || -> Result<(), GammaError> { panic!("no\nsuch shape") };
    match subject.guarded(rule("sgd").unwrap(), work) {
        Err(error @ GammaError::Panicked { .. }) => {
            assert_eq!(error.to_string(), "lora with sgd: panicked: no such shape");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_has_real_alphas_and_reasons() {
    let mut lab = lab();
    lab.adapters = Registry::empty().with::<Lora>().with::<directions::Reflection>();
    let (growth, half) = (vec!["sgd".into()], Vec::new());
    let plan = Plan { steps: 2, gamma_steps: 2, unet_steps: 1, growth, half, ..Plan::committed() };
    let chapter = Chapter::run(plan, &lab, |_, _| ()).unwrap();
    assert_eq!(chapter.failures, [""; 0]);
    // Every optimizer in the small network, and one in the UNet.
    assert_eq!(chapter.outside.len(), optimizers().len() + 1, "{:?}", chapter.outside);
    let mut alphas = 0;
    assert!(chapter.unet.iter().all(|cell| cell.alpha.is_none()));
    for cell in &chapter.cells {
        for alpha in cell.alpha.iter().flatten() {
            alphas += 1;
            assert!(alpha.apart.is_none() && alpha.contradictions().is_empty(), "{cell:?}");
        }
    }
    let sets = 1 + lab.adapters.get("lora").unwrap().variants().len();
    assert_eq!(alphas, 4 * sets);
    let page = page(&chapter.written()).unwrap();
    assert!(page.contains("With a real alpha") && page.contains("degree 0: no scaling"));
}
