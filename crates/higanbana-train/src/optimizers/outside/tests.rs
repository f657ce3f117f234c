use burn::{
    optim::{LearningRate, Optimizer},
    tensor::{Device, Tensor},
};

use super::{Outside, history::tensor};
use crate::optimizers;

#[test]
fn the_degrees_that_rules_state_are_found() {
    for rule in optimizers() {
        let hyperparameters: Vec<_> =
            rule.hyperparameters.iter().map(|h| (h.name, h.role, h.value)).collect();
        let outside = Outside {
            name: rule.name,
            title: rule.title,
            reference: rule.reference,
            formula: rule.formula,
            rate: rule.rate,
            hyperparameters: Box::leak(hyperparameters.into()),
            build: rule.build,
        };
        let found = outside.rule().unwrap_or_else(|error| panic!("{}: {error}", rule.name));
        if rule.name == "adadelta" {
            // The other one of its two.
            let powers: Vec<_> = found.hyperparameters.iter().map(|h| h.power).collect();
            assert_eq!((found.degrees(), powers), ([0, 0], vec![-2, 0, -2, 0]));
            continue;
        }
        assert_eq!(found.gradient_degree, rule.gradient_degree, "{}", rule.name);
        assert_eq!(found.parameter_degree, rule.parameter_degree, "{}", rule.name);
        for (found, stated) in found.hyperparameters.iter().zip(rule.hyperparameters) {
            assert_eq!(found.power, stated.power, "{} {}", rule.name, stated.name);
        }
        assert_eq!(found.needs_nonzero.is_some(), rule.needs_nonzero.is_some(), "{}", rule.name);
        assert!(
            found.ignores_clipping.is_none() || rule.ignores_clipping.is_some(),
            "{}",
            rule.name
        );
    }
}

/// $U = f(g)$, number by number.
#[derive(Clone)]
struct Plain(fn(f64) -> f64);

impl Optimizer for Plain {
    type State<const D: usize> = ();

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        x: Tensor<D>,
        g: Tensor<D>,
        _: Option<()>,
    ) -> (Tensor<D>, Option<()>) {
        let update: Vec<f64> = g.to_data().iter::<f64>().map(self.0).collect();
        let update = tensor::<D>(&update, g.dims(), &g.device());
        (x - update.mul_scalar(rate), Some(()))
    }

    fn to_device<const D: usize>(state: (), _: &Device) {
        state
    }
}

#[test]
fn what_does_not_scale_has_no_rule() {
    let plain = Outside {
        name: "plain",
        title: "plain",
        reference: "none",
        formula: "f(g)",
        rate: 0.1,
        hyperparameters: &[],
        build: |_| Plain(|g| g * g * g).into(),
    };
    let cubes = plain.rule().unwrap();
    assert_eq!((cubes.gradient_degree, cubes.parameter_degree, cubes.c()), (3, 0, 4));
    let tanh = Outside { build: |_| Plain(f64::tanh).into(), ..plain };
    assert!(tanh.rule().unwrap_err().to_string().starts_with("no rule exists"));
    // A degree, but not a whole one.
    let root = Outside { build: |_| Plain(|g| g.signum() * g.abs().sqrt()).into(), ..plain };
    let error = root.rule().unwrap_err();
    assert!((error.k - 0.5).abs() < 1e-3 && error.j.abs() < 1e-3, "{error:?}");
    let broken = Outside { build: |_| Plain(|_| f64::NAN).into(), ..plain };
    assert!(broken.rule().is_err());
}
