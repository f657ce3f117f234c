//! What forms of PEFT share: rank and alpha; and those that PEFT calls `LycorisTuner`s: some options, and the
//! shape of Tucker cores.

use higanbana_core::{
    Parts,
    peft::{Meaning, NotHeld},
};
use serde_json::{Value, json};

use crate::scale::Scale;

/// Rank and alpha of a module.
pub(crate) fn scale(module: &Parts, rank: usize) -> Result<(usize, f64), NotHeld> {
    let scale = Scale::read(module, rank).map_err(|error| NotHeld::new(module, error))?;
    Ok((rank, scale.file_alpha()))
}

/// What a tuner's configuration has besides rank, alpha and modules.
pub(crate) fn options(has_cores: bool) -> [(&'static str, Value); 4] {
    [
        ("use_effective_conv2d", json!(has_cores)),
        ("rank_dropout", json!(0.0)),
        ("module_dropout", json!(0.0)),
        ("init_weights", json!(true)),
    ]
}

/// Of these and a tuner's own, which are about training or told by the tensors.
pub(crate) fn meaning(option: &str, own: &[&str]) -> Meaning {
    let is_known = own.contains(&option) || options(false).iter().any(|(name, _)| *name == option);
    if is_known { Meaning::None } else { Meaning::Unknown }
}

/// PEFT's cores have two axes of taps, of which that of a one-dimensional kernel has size 1.
pub(crate) fn core_shape(shape: &[usize]) -> Vec<usize> {
    if shape.len() == 3 { [shape, &[1]].concat() } else { shape.into() }
}

/// Refuses cores of other kernels.
pub(crate) fn expect_cores(module: &Parts, keys: &[&str]) -> Result<(), NotHeld> {
    for key in keys {
        if let Some(shape) = module.shape(key).filter(|shape| !matches!(shape.len(), 3 | 4)) {
            return Err(NotHeld::new(module, format!("{key} of shape {shape:?}")));
        }
    }
    Ok(())
}
