//! PEFT's LoHa: LyCORIS's tensors, with one rank for both products.

use std::collections::BTreeMap;

use super::{Module, Written, core, extend};
use crate::{
    FileError,
    dialect::options::{Adapted, options},
};

const CORES: [&str; 2] = ["hada_t1", "hada_t2"];
const KEYS: [&str; 6] = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", CORES[0], CORES[1]];

pub(super) fn encode(modules: &[Module]) -> Result<Written, FileError> {
    let mut tensors = BTreeMap::new();
    let mut adapted = Vec::new();
    for module in modules {
        module.expect_only(&KEYS)?;
        let rank = rank(module)?;
        adapted.push(Adapted { path: module.path(), rank, alpha: module.alpha(rank)? });
        for key in KEYS {
            let Some(data) = module.tensors.get(key) else { continue };
            let is_core = CORES.contains(&key);
            let data = if is_core { core(module, key, data)? } else { data.clone() };
            tensors.insert(format!("{}.{key}", module.name), data);
        }
    }
    let has_cores = modules.iter().any(|module| module.tensors.contains_key(CORES[0]));
    let mut options = options(&adapted, "alpha");
    extend(&mut options, has_cores);
    Ok((tensors, options))
}

/// ```text
/// w1_a [out, r]   w1_b [r, in·K]            the same for w2
/// w1_a [r, out]   w1_b [r, in]   t1 [r, r, taps..]
/// ```
fn rank(module: &Module) -> Result<usize, FileError> {
    let cores = CORES.map(|key| module.shape(key).get(..2));
    let axis = if cores[0].is_some() { 0 } else { 1 };
    let ranks =
        KEYS[..4].iter().zip([axis, 0, axis, 0]).map(|(key, axis)| match module.shape(key) {
            shape @ [_, _] => Some(shape[axis]),
            _ => None,
        });
    match ranks.collect::<Option<Vec<_>>>().as_deref() {
        Some(&[r, b, c, d])
            if r > 0
                && [b, c, d] == [r; 3]
                && (cores == [None; 2] || cores == [Some(&[r, r][..]); 2]) =>
        {
            Ok(r)
        }
        Some(_) => Err(module.cannot_hold("factors of different or no rank")),
        None => Err(module.cannot_hold("a part of a LoHa adapter")),
    }
}
