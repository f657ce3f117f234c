//! Factors, rates and hyperparameters.

use super::{roots::power_of_two, *};
use crate::{optimizer, optimizers};

#[test]
fn roots_of_powers_of_two_are_powers_of_two() {
    for m in 1..=6u32 {
        for e in [-40, -7, -1, 1, 2, 13] {
            let gamma = power_of_two(e * m as i32);
            assert_eq!(root(gamma, m).unwrap(), power_of_two(e), "2^{e}, degree {m}");
        }
    }
    assert_eq!(root(0.5, 2).unwrap(), 0.5f64.sqrt());
    assert_eq!(root(0.037, 1).unwrap(), 0.037);
}

#[test]
fn what_is_no_positive_number_is_refused() {
    for gamma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(root(gamma, 2), Err(ScalingError::Gamma(_))), "{gamma}");
    }
}

#[test]
fn learning_rates_scale_with_c() {
    let degree = Degree::Update(vec![("up", 1), ("down", 1)]);
    for (name, c) in [
        ("sgd", 2),
        ("momentum", 2),
        ("nesterov", 2),
        ("adam", 1),
        ("lion", 1),
        ("muon", 1),
        ("lamb", 0),
        ("adafactor", 0),
        ("adadelta", 0),
        ("prodigy", 0),
    ] {
        let rule = optimizer(name).unwrap();
        assert_eq!(rule.c(), c, "{name}");
        let scaling = Scaling::for_gamma(&degree, rule, 1.0 / 16.0).unwrap();
        assert_eq!(scaling.rate(0), 0.25f64.powi(c), "{name}");
        assert_eq!(scaling.threshold(1), 4.0);
        assert!(scaling.is_dyadic());
    }
}

#[test]
fn hyperparameters_scale_as_their_units_do() {
    let adamw = optimizer("adamw").unwrap();
    let scaled = scaled(adamw, &adamw.settings(), 0.25);
    assert_eq!(scaled.get("eps"), 4e-8);
    assert_eq!(scaled.get("weight_decay"), 0.04);
    assert_eq!(scaled.get("beta_1"), 0.9);
}

#[test]
fn tensors_outside_the_map_stay() {
    let degree = Degree::Inside { map: "V", exponents: vec![("a1+b1", 1), ("scale", 0)] };
    let scaling = Scaling::for_gamma(&degree, optimizer("adam").unwrap(), 0.3).unwrap();
    assert_eq!(scaling.blocks[scaling.block("b1").unwrap()].factor, 0.3);
    assert_eq!(scaling.blocks[scaling.block("scale").unwrap()].factor, 1.0);
    assert_eq!(scaling.block("other"), None);
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<_> = optimizers().iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), 19);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 19);
}

fn layer(exponents: &[(&'static str, u32)], zeros: &[&str]) -> Layer {
    let zeros = zeros.iter().map(|name| (*name).into()).collect();
    Layer { zeros, ..Layer::new(Degree::Update(exponents.to_vec()), 1.0 / 16.0) }
}

fn factors(layer: &Layer, rule: &str) -> Result<Vec<f64>, ScalingError> {
    let scalings = judge(std::slice::from_ref(layer), optimizer(rule).unwrap(), Sharing::Together)?;
    Ok(scalings[0].blocks.iter().map(|block| block.factor).collect())
}

#[test]
fn what_starts_from_zeros_takes_up_nothing_where_its_step_does_not_scale() {
    let lora = layer(&[("up", 1), ("down", 1)], &["up"]);
    assert_eq!(factors(&lora, "adam").unwrap(), [0.25, 0.25]);
    assert_eq!(factors(&lora, "lamb").unwrap(), [1.0, 1.0 / 16.0]);
    let full = layer(&[("diff", 1)], &["diff"]);
    assert_eq!(factors(&full, "adam").unwrap(), [1.0 / 16.0]);
    let error = factors(&full, "lamb").unwrap_err().to_string();
    assert_eq!(
        error,
        "no scaling of the tensors replaces gamma under LAMB: diff would have to take it up, but starts from \
         zeros, and a tensor of zeros has no length to step by, and gets a step of length 1"
    );
}

#[test]
fn degree_0_is_no_scaling() {
    let reflection = layer(&[("u", 0)], &[]);
    for rule in optimizers() {
        let error = factors(&reflection, rule.name).unwrap_err();
        assert_eq!(error, ScalingError::DegreeZero);
        assert_eq!(error.to_string(), "degree 0: no scaling of the tensors replaces gamma");
    }
    assert_eq!(root(0.5, 0), Err(ScalingError::DegreeZero));
    // Nothing has to be replaced.
    let one = Layer { gamma: 1.0, ..reflection };
    assert_eq!(factors(&one, "sgd").unwrap(), [1.0]);
}

#[test]
fn one_number_for_all_tensors_needs_one_factor() {
    let inside = |exponents| Degree::Inside { map: "V", exponents };
    let dora = Layer::new(inside(vec![("up", 1), ("down", 1), ("magnitude", 0)]), 1.0 / 16.0);
    assert_eq!(factors(&dora, "adam").unwrap(), [0.25, 0.25, 1.0]);
    let error = factors(&dora, "prodigy").unwrap_err().to_string();
    assert_eq!(
        error,
        "no scaling of the tensors replaces gamma under Prodigy: it has one estimate of a distance for all \
         tensors, and up needs it times 0.25, magnitude times 1"
    );
    let error = factors(&dora, "normalized_sgd").unwrap_err().to_string();
    assert!(error.ends_with("up needs it times 4, magnitude times 1"), "{error}");
    let prodigy = optimizer("prodigy").unwrap();
    assert!(judge(std::slice::from_ref(&dora), prodigy, Sharing::Apart).is_ok());
    assert!(judge(std::slice::from_ref(&dora), prodigy, Sharing::Measured).is_err());
    let normalised = optimizer("normalized_sgd").unwrap();
    assert!(judge(&[dora], normalised, Sharing::Measured).is_ok());
    // Layers of two degrees.
    let layers =
        [layer(&[("up", 1), ("down", 1)], &[]), layer(&[("up", 1), ("down", 1), ("core", 1)], &[])];
    assert!(judge(&layers, prodigy, Sharing::Together).is_err());
    assert!(judge(&layers, optimizer("adam").unwrap(), Sharing::Together).is_ok());
    // What the map does not change with goes along.
    let direction = layer(&[("length", 1), ("direction", 0)], &[]);
    assert_eq!(factors(&direction, "adam").unwrap(), [1.0 / 16.0, 1.0]);
    assert_eq!(factors(&direction, "prodigy").unwrap(), [1.0 / 16.0, 1.0 / 16.0]);
}

#[test]
fn a_frozen_tensor_stays() {
    let frozen = |names: &[&str]| Layer {
        frozen: names.iter().map(|name| (*name).into()).collect(),
        ..layer(&[("up", 1), ("down", 1)], &[])
    };
    assert_eq!(factors(&frozen(&["down"]), "prodigy").unwrap(), [1.0 / 16.0, 1.0]);
    let error = factors(&frozen(&["up", "down"]), "adam").unwrap_err();
    assert_eq!(error, ScalingError::Frozen("up, down".into()));
}
