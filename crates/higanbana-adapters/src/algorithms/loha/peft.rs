//! LoHa as PEFT holds it: these tensors, with one rank for both products.

use higanbana_core::{
    Parts, PeftForm,
    peft::{Configured, Meaning, NotHeld},
};
use serde_json::Value;

use crate::peft::{core_shape, expect_cores, meaning, options, scale};

const CORES: [&str; 2] = ["hada_t1", "hada_t2"];
const KEYS: [&str; 6] = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", CORES[0], CORES[1]];

/// The form of PEFT 0.21.
#[derive(Debug)]
pub struct Form;

impl PeftForm for Form {
    fn name(&self) -> &'static str {
        "LOHA"
    }

    fn tensors(&self) -> &'static [&'static str] {
        &KEYS
    }

    fn meaning(&self, option: &str, _value: &Value) -> Meaning {
        meaning(option, &[])
    }

    fn their_shape(&self, key: &str, shape: &[usize]) -> Vec<usize> {
        if CORES.contains(&key) { core_shape(shape) } else { shape.into() }
    }

    fn write(&self, modules: &[Parts]) -> Result<Configured, NotHeld> {
        let scales =
            modules.iter().map(|module| scale(module, rank(module)?)).collect::<Result<_, _>>()?;
        let has_cores = modules.iter().any(|module| module.has(CORES[0]));
        Ok(Configured { scales, options: options(has_cores).into() })
    }
}

/// The rank of both products.
///
/// ```text
/// w1_a [out, r]   w1_b [r, in·K]            the same for w2
/// w1_a [r, out]   w1_b [r, in]   t1 [r, r, taps..]
/// ```
fn rank(module: &Parts) -> Result<usize, NotHeld> {
    expect_cores(module, &CORES)?;
    let cores = CORES.map(|key| module.shape(key).map(|shape| [shape[0], shape[1]]));
    let axis = if cores[0].is_some() { 0 } else { 1 };
    let ranks = KEYS[..4].iter().zip([axis, 0, axis, 0]).map(|(key, axis)| {
        module.shape(key).filter(|shape| shape.len() == 2).map(|shape| shape[axis])
    });
    let Some(ranks) = ranks.collect::<Option<Vec<_>>>() else {
        return Err(NotHeld::new(module, "a part of a LoHa adapter"));
    };
    let r = ranks[0];
    if r == 0 || ranks != [r; 4] || ![[None; 2], [Some([r; 2]); 2]].contains(&cores) {
        return Err(NotHeld::new(module, "factors of different or no rank"));
    }
    Ok(r)
}
