//! PEFT's OFT, of which the tensors are ours; its configuration says which series makes them rotations.
//!
//! ```text
//! oft_R [k, b(b-1)/2]    use_cayley_neumann, num_cayley_neumann_terms: what stands in `oft_R.terms`
//! ```
//!
//! It is read, not written: PEFT's configuration has one block size for layers of every width.

use higanbana_core::{
    Parts, PeftForm,
    peft::{Acts, Configured, Meaning, NotHeld, PeftModule},
};
use serde_json::{Value, json};

use super::{SCALED, Series, TERMS, WEIGHT};

const IS_SERIES: &str = "use_cayley_neumann";
const COUNT: &str = "num_cayley_neumann_terms";
/// Defaults of PEFT 0.21.
const DEFAULT_TERMS: f64 = 5.0;

/// Options about training, or told by the tensors; `r` is a number of blocks, and 0 where their size is given.
const HARMLESS: [&str; 5] =
    ["r", "oft_block_size", "module_dropout", "init_weights", "block_share"];

/// The form of PEFT 0.21.
#[derive(Debug)]
pub struct Form;

impl PeftForm for Form {
    fn name(&self) -> &'static str {
        "OFT"
    }

    fn tensors(&self) -> &'static [&'static str] {
        &[WEIGHT]
    }

    fn names(&self) -> &'static [(&'static str, &'static str)] {
        // What has a longer name is found first.
        &[(SCALED, SCALED), (TERMS, TERMS), ("oft_R", WEIGHT)]
    }

    fn unread(&self) -> &'static [(&'static str, &'static str)] {
        const OLD: &str = "of PEFT before 0.14, whose OFT later releases do not read either";
        const EMBEDDING: &str = "an adapter of an embedding, which is not supported";
        &[("oft_r", OLD), ("oft_embedding_R", EMBEDDING)]
    }

    fn meaning(&self, option: &str, value: &Value) -> Meaning {
        let whole = |what: &str| Meaning::Other(format!("{option} is {value}, {what}"));
        match option {
            COUNT => match value.as_f64().and_then(Series::of_terms) {
                Some(Series::UpTo(_)) => Meaning::None,
                _ => whole("a series that is not read; merge it with PEFT"),
            },
            IS_SERIES if !value.is_boolean() => whole("neither true nor false; save it again"),
            "coft" if *value == json!(true) => {
                whole("under which PEFT shrinks the tensors on loading; merge it with PEFT")
            }
            "fan_in_fan_out" if *value == json!(true) => {
                whole("so that the weights are transposed; merge it with PEFT")
            }
            IS_SERIES | "coft" | "eps" | "fan_in_fan_out" => Meaning::None,
            _ if HARMLESS.contains(&option) => Meaning::None,
            _ => Meaning::Unknown,
        }
    }

    fn write(&self, modules: &[Parts]) -> Result<Configured, NotHeld> {
        match modules.first() {
            None => Ok(Configured::default()),
            Some(module) => {
                let what = "OFT, whose configuration has one block size for all layers,";
                Err(NotHeld::new(module, what))
            }
        }
    }

    fn read(&self, module: &PeftModule) -> Result<Acts, &'static str> {
        let said = module.options.map(|options| {
            let is_series = options.get(IS_SERIES) != Some(&json!(false));
            let terms = options.get(COUNT).and_then(Value::as_f64).unwrap_or(DEFAULT_TERMS);
            (TERMS, if is_series { terms } else { 0.0 })
        });
        Ok(Acts { numbers: said.into_iter().collect(), ..Acts::default() })
    }
}
