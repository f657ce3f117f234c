use std::collections::BTreeMap;

use super::*;

#[test]
fn exponents_are_those_of_powers() {
    let powers: Vec<(f64, f64)> = [1.0, 2.0, 8.0].map(|r: f64| (r, 3.0 * r.powf(-0.5))).into();
    assert!((exponent(&powers).unwrap() + 0.5).abs() < 1e-12);
    assert_eq!(exponent(&[(4.0, 1.0)]), None);
}

/// Steps whose gradient is a function of rank and seed, of tensors that depend on the rank.
fn steps<'a>(
    ranks: &[usize],
    tensors: impl Fn(usize) -> Vec<&'a str>,
    gradient: impl Fn(&str, f64, u64) -> f64,
) -> Vec<First> {
    let step = |(rank, seed): (usize, u64)| {
        let of = |name: &str| {
            let gradient = gradient(name, rank as f64, seed);
            Step { gradient, sgd: gradient, sign: gradient }
        };
        let own: BTreeMap<String, Step> =
            tensors(rank).into_iter().map(|name| (name.to_string(), of(name))).collect();
        let gradient = own.values().map(|it| it.gradient.powi(2)).sum::<f64>().sqrt();
        let whole = Step { gradient, sgd: gradient, sign: gradient };
        First { rank, seed, parameters: rank, whole, tensors: own }
    };
    ranks.iter().flat_map(|&rank| (0..4).map(move |seed| (rank, seed))).map(step).collect()
}

/// The mean gradients of lokr at α/r: 0.127, 0.057 and 0.027 while its second factor is a product, 0.188 where it is
/// whole. One line through all four has the power 0.1 and was called stable.
#[test]
fn a_factor_that_becomes_whole_begins_a_regime() {
    let decomposed = |rank| if rank < 8 { vec!["w1", "w2_a", "w2_b"] } else { vec!["w1", "w2"] };
    let gradient = |name: &str, rank: f64, seed: u64| {
        let noise = 1.0 + 0.01 * seed as f64;
        match name {
            "w2_b" => 0.127 * noise * rank.powf(-1.1),
            "w2" => 0.188 * noise,
            _ => 0.0,
        }
    };
    let steps = steps(&[1, 2, 4, 8], decomposed, gradient);
    let through: Vec<(f64, f64)> = [1usize, 2, 4, 8]
        .iter()
        .map(|rank| {
            (*rank as f64, steps.iter().find(|it| it.rank == *rank).unwrap().whole.gradient)
        })
        .collect();
    assert!(exponent(&through).unwrap().abs() < STABLE);
    let regimes = Regime::all(&steps);
    let ranks: Vec<&[usize]> = regimes.iter().map(|regime| &regime.ranks[..]).collect();
    assert_eq!(ranks, [&[1, 2, 4][..], &[8]]);
    let Power::Of(sample) = regimes[0].power(|it| it.tensors["w2_b"].gradient) else { panic!() };
    assert!((sample.mean() + 1.1).abs() < 1e-9);
    assert_eq!(regimes[0].power(|it| it.whole.gradient).order(1), Order::Less);
    assert_eq!(regimes[0].power(|it| it.tensors["w1"].gradient), Power::Zero);
    assert_eq!(regimes[1].power(|it| it.whole.gradient), Power::Untold);
}

/// Blocks of 1 have nothing to rotate: what moves from rank 2 on goes as its own power.
#[test]
fn a_rank_at_which_nothing_moves_is_a_regime_of_its_own() {
    let gradient = |_: &str, rank: f64, _| if rank < 2.0 { 0.0 } else { 0.1 * rank };
    let steps = steps(&[1, 2, 4, 8], |_| vec!["blocks"], gradient);
    let regimes = Regime::all(&steps);
    assert_eq!((&regimes[0].ranks[..], &regimes[1].ranks[..]), (&[1][..], &[2, 4, 8][..]));
    assert_eq!(regimes[0].power(|it| it.whole.gradient), Power::Zero);
    let Power::Of(sample) = regimes[1].power(|it| it.whole.gradient) else { panic!() };
    assert!((sample.mean() - 1.0).abs() < 1e-9);
}

/// A magnitude of 0.09 next to a factor of 0.05 r^−½: the whole is stable, the factor is not.
#[test]
fn a_large_tensor_does_not_speak_for_a_small_one() {
    let gradient = |name: &str, rank: f64, seed: u64| match name {
        "dora_scale" => 0.09 + 1e-4 * seed as f64,
        _ => 0.05 * rank.powf(-0.5),
    };
    let steps = steps(&[1, 2, 4, 8, 16], |_| vec!["dora_scale", "lora_up"], gradient);
    let regimes = Regime::all(&steps);
    assert_eq!(regimes[0].power(|it| it.whole.gradient).order(1), Order::Tied);
    assert_eq!(regimes[0].power(|it| it.tensors["dora_scale"].gradient).order(1), Order::Tied);
    assert_eq!(regimes[0].power(|it| it.tensors["lora_up"].gradient).order(1), Order::Less);
}

/// Down and up again: least squares finds no slope, and it is no power.
#[test]
fn what_bends_has_no_power() {
    let steps = steps(&[1, 2, 4, 8, 16], |_| vec!["a"], |_, rank, _| (rank / 4.0).max(4.0 / rank));
    assert_eq!(Regime::all(&steps)[0].power(|it| it.whole.gradient), Power::Bent);
}
