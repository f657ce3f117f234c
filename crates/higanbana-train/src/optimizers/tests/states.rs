//! What optimizers carry scales as they state, in both forms where there are two.

use std::collections::BTreeSet;

use burn::{module::ParamId, tensor::Bytes};
use burn_pack::Reader;

use super::*;
use crate::{Rule, optimizers, scaling::scaled};

/// $a$.
const A: f64 = 0.25;

/// Name and values of each state after some steps from `a` times the parameters, a vector and a matrix of
/// this shape, at gradients `a` times smaller.
fn states(rule: &Rule, a: f64, shape: [usize; 2], steps: usize) -> Vec<(String, Vec<f64>)> {
    let device = Device::default().autodiff();
    let like = (&device, DType::F64);
    let mut pair = Pair {
        vector: Param::initialized(ParamId::from(1), Tensor::from_data([a, -2.0 * a], like)),
        matrix: Param::initialized(ParamId::from(2), Tensor::full(shape, 0.5 * a, like)),
    };
    let settings = scaled(rule, &rule.settings(), a);
    let group = Group { rate: rule.rate * a.powi(rule.c()), settings };
    let mut optimizer = ModelOptimizer::new(&pair, rule, &[group], |_| 0);
    for step in 0..steps {
        let number = |i: usize| ((i * i + 3 * step + 1) % 7) as f64 / a - 2.5 / a;
        let inner = (&device.clone().inner(), DType::F64);
        let mut gradients = GradientsParams::new();
        let matrix: Vec<f64> = (0..10).map(number).collect();
        gradients.register(pair.vector.id, Tensor::<1>::from_data([number(3), number(4)], inner));
        let matrix = TensorData::new(matrix, shape);
        gradients.register(pair.matrix.id, Tensor::<2>::from_data(matrix, inner));
        pair = optimizer.step(1.0, pair, gradients);
    }
    let state = optimizer.state().unwrap().swap_remove(0);
    let numbers = ["d", "r"].into_iter().zip(state.numbers);
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(state.bytes)).unwrap();
    let tensor = |full: &str| {
        let bytes = reader.tensor_data(full).unwrap();
        let values = bytes.chunks_exact(8).map(|it| f64::from_le_bytes(it.try_into().unwrap()));
        (full.rsplit('.').next().unwrap().to_string(), values.collect())
    };
    let tensors = reader.tensor_names().into_iter().map(tensor);
    tensors.chain(numbers.map(|(name, number)| (name.into(), vec![number]))).collect()
}

#[test]
fn what_is_carried_scales_with_the_stated_powers() {
    for rule in optimizers() {
        let mut seen = BTreeSet::new();
        // Wide, tall, and after enough steps to be neither.
        for (shape, steps) in [([2, 5], 1), ([5, 2], 1), ([2, 5], 4)] {
            let [one, other] = [1.0, A].map(|a| states(rule, a, shape, steps));
            for ((name, x), (_, y)) in one.iter().zip(&other) {
                let stated: Vec<i32> =
                    rule.state.iter().filter(|it| it.name == name).map(|it| it.power).collect();
                let scales = |power: i32| x.iter().zip(y).all(|(x, y)| *y == x * A.powi(power));
                let powers: Vec<i32> = (-3..=3).filter(|power| scales(*power)).collect();
                // Zeros scale with any.
                let [power] = powers[..] else {
                    assert!(x.iter().all(|x| *x == 0.0), "{} {name}: {x:?} {y:?}", rule.name);
                    continue;
                };
                assert!(stated.contains(&power), "{} {name}: a^{power}, not {stated:?}", rule.name);
                seen.insert((name.clone(), power));
            }
        }
        let stated = rule.state.iter().map(|it| (it.name.to_string(), it.power));
        assert_eq!(seen, stated.collect(), "{}", rule.name);
    }
}
