//! Tensors that several layers share.
//!
//! $y = (W_2 + \gamma_2 B_2 A) \tanh((W_1 + \gamma_1 B_1 A) x)$ with one $A$: its factor may be 1, and $B_l$ takes up
//! $\gamma_l$. With one $B$ as well, the equations $a_B a_A = \gamma_1$ and $a_B a_A = \gamma_2$ contradict each
//! other. Written down here by itself, with nothing of the table but the optimizers and their powers.

use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use higanbana_train::{Group, ModelOptimizer, Rule, optimizers, scaling::scaled};

use crate::gamma::{THRESHOLD, difference, rule, task::stream};

const SIZE: usize = 6;
const RANK: usize = 2;
const STEPS: usize = 12;

#[derive(Module, Debug)]
struct Shared {
    a: Param<Tensor<2>>,
    b: Vec<Param<Tensor<2>>>,
}

impl Shared {
    /// The product of a layer, of which the last $B$ serves all that are left.
    fn product(&self, layer: usize) -> Tensor<2> {
        self.b[layer.min(self.b.len() - 1)].val().matmul(self.a.val())
    }
}

/// The updates of both layers after every step, with `layers` of $B$, from $A$ and $B$ times their factors at
/// the rates and hyperparameters of these.
fn run(rule: &'static Rule, layers: usize, gammas: [f64; 2], factors: &[f64]) -> Vec<f64> {
    let device = Device::flex().autodiff();
    let numbers = |name: &str, shape: [usize; 2]| {
        stream(name, &device.clone().inner(), DType::F64, 0).normal::<2>(shape, 0.5)
    };
    let on = |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.to_data(), (&device, DType::F64));
    let trained = |name: &str, shape, factor| {
        Param::from_tensor(on(numbers(name, shape).mul_scalar(factor)).require_grad())
    };
    let mut model = Shared {
        a: trained("a", [RANK, SIZE], factors[0]),
        b: (0..layers).map(|l| trained(&format!("b {l}"), [SIZE, RANK], factors[l + 1])).collect(),
    };
    let settings = rule.hyperparameters.iter().fold(rule.settings(), |settings, h| {
        if h.name == "weight_decay" { settings.with(h.name, 0.02) } else { settings }
    });
    let group = |a: &f64| Group {
        rate: rule.rate * a.powi(rule.c()),
        settings: scaled(rule, &settings, *a),
    };
    let groups: Vec<Group> = factors.iter().map(group).collect();
    let member =
        |path: &str| path.strip_prefix("b.").map_or(0, |l| 1 + l.parse::<usize>().unwrap());
    let mut optimizer = ModelOptimizer::new(&model, rule, &groups, member);
    let frozen = [0, 1].map(|l| on(numbers(&format!("w {l}"), [SIZE, SIZE])));
    let mut updates = Vec::new();
    for step in 0..STEPS {
        let [x, y] = ["x", "y"].map(|name| on(numbers(&format!("{name} {step}"), [SIZE, 4])));
        let weight = |l: usize| frozen[l].clone() + model.product(l).mul_scalar(gammas[l]);
        let loss = (weight(1).matmul(weight(0).matmul(x).tanh()) - y).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1.0, model, gradients);
        for (l, gamma) in gammas.iter().enumerate() {
            updates.extend(model.product(l).mul_scalar(*gamma).to_data().iter::<f64>());
        }
    }
    updates
}

#[test]
fn layers_with_a_tensor_of_their_own_may_share_another() {
    let gammas = [0.25, 4.0];
    for rule in optimizers() {
        let with = run(rule, 2, gammas, &[1.0; 3]);
        // The factor of what is shared is free: the others make up for it.
        for shared in [1.0, 0.5, 2.0] {
            let factors = [shared, gammas[0] / shared, gammas[1] / shared];
            let (apart, same) = difference(&with, &run(rule, 2, [1.0; 2], &factors));
            assert!(same, "{}: {apart:e}", rule.name);
        }
        let (apart, _) = difference(&with, &run(rule, 2, [1.0; 2], &[0.5, 0.5, 2.0]));
        assert!(apart > THRESHOLD, "{}: {apart:e}", rule.name);
    }
}

#[test]
fn layers_that_share_all_tensors_have_one_gamma() {
    let factors = [-1.0, 0.0, 0.5, 1.0].map(|e: f64| 4f64.powf(e));
    for rule in ["sgd", "adamw", "muon"].map(|name| rule(name).unwrap()) {
        let alike = run(rule, 1, [0.25; 2], &[1.0; 2]);
        assert!(difference(&alike, &run(rule, 1, [1.0; 2], &[0.5; 2])).1, "{}", rule.name);
        let unequal = run(rule, 1, [0.25, 4.0], &[1.0; 2]);
        for a in factors {
            for b in factors {
                let (apart, _) = difference(&unequal, &run(rule, 1, [1.0; 2], &[a, b]));
                assert!(apart > 100.0 * THRESHOLD, "{}, {a}, {b}: {apart:e}", rule.name);
            }
        }
    }
}
