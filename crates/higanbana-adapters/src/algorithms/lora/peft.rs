//! LoRA as PEFT and diffusers hold it: $W_0 + \frac{\alpha}{r} B A$, its rows scaled to learned norms or
//! not (DoRA), which is one algorithm to them.
//!
//! ```text
//! lora_A [r, in, ..]    lora_B [out, r, 1..]    lora_magnitude_vector [out], convolutions [1, out, 1..]
//! lora_B.bias [out]     under lora_bias: alpha / r of it is added to the bias
//! ```
//!
//! Older releases of diffusers have `lora.down`, `lora_linear_layer.down` and, in the attention processors
//! that they then had, `to_q_lora.down`.

use higanbana_core::{
    Parts, PeftForm,
    peft::{Acts, Configured, Meaning, NotHeld, PeftModule},
};
use serde_json::{Value, json};

use crate::peft::scale;

const DOWN: &str = "lora_down.weight";
const UP: &str = "lora_up.weight";
const NORMS: &str = "dora_scale";
const BIAS: &str = "diff_b";

/// The form of PEFT 0.21.
#[derive(Debug)]
pub struct Form;

impl PeftForm for Form {
    fn name(&self) -> &'static str {
        "LORA"
    }

    fn tensors(&self) -> &'static [&'static str] {
        &[DOWN, UP, NORMS]
    }

    fn names(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("lora_A.weight", DOWN),
            ("lora_B.weight", UP),
            ("lora_magnitude_vector", NORMS),
            ("magnitude", NORMS),
            ("lora.down", DOWN),
            ("lora.up", UP),
            ("lora.alpha", "alpha"),
            ("lora_linear_layer.down", DOWN),
            ("lora_linear_layer.up", UP),
            ("lora_linear_layer.alpha", "alpha"),
            ("_lora.down", DOWN),
            ("_lora.up", UP),
            ("_lora.alpha", "alpha"),
        ]
    }

    fn bias(&self) -> Option<(&'static str, &'static str)> {
        Some((UP, BIAS))
    }

    fn unread(&self) -> &'static [(&'static str, &'static str)] {
        const EMBEDDING: &str = "an adapter of an embedding, which is not supported";
        &[("lora_embedding_A", EMBEDDING), ("lora_embedding_B", EMBEDDING)]
    }

    fn scaled(&self) -> Option<&'static str> {
        Some(UP)
    }

    fn alpha(&self) -> &'static str {
        "lora_alpha"
    }

    fn meaning(&self, option: &str, value: &Value) -> Meaning {
        if option == START {
            return start(value);
        }
        if FLAGS.contains(&option) && !value.is_boolean() {
            return Meaning::Other(no_flag(option, value));
        }
        match REFUSED.iter().find(|(refused, _)| *refused == option) {
            Some((_, how)) => Meaning::Other(format!("{option} is set, {how}; merge it with PEFT")),
            None if HARMLESS.contains(&option) => Meaning::None,
            None => Meaning::Unknown,
        }
    }

    fn their_shape(&self, key: &str, shape: &[usize]) -> Vec<usize> {
        match (key, shape) {
            (NORMS, &[out, _]) => vec![out],
            (NORMS, &[out, one, ref rest @ ..]) => [&[one, out], rest].concat(),
            _ => shape.into(),
        }
    }

    fn our_shape(&self, key: &str, shape: &[usize]) -> Vec<usize> {
        match (key, shape) {
            (NORMS, &[out]) | (NORMS, &[1, out]) => vec![out, 1],
            (NORMS, &[1, out, ref rest @ ..]) if !rest.is_empty() => [&[out, 1], rest].concat(),
            _ => shape.into(),
        }
    }

    fn write(&self, modules: &[Parts]) -> Result<Configured, NotHeld> {
        let scales =
            modules.iter().map(|module| scale(module, rank(module)?)).collect::<Result<_, _>>()?;
        let is_decomposed = modules.iter().any(|module| module.has(NORMS));
        if let Some(plain) = modules.iter().find(|module| is_decomposed && !module.has(NORMS)) {
            return Err(NotHeld::new(plain, "no dora_scale where others have one"));
        }
        let options = vec![
            ("use_dora", json!(is_decomposed)),
            ("use_rslora", json!(false)),
            ("lora_dropout", json!(0.0)),
            ("fan_in_fan_out", json!(false)),
            ("bias", json!("none")),
            (START, json!(true)),
        ];
        Ok(Configured { scales, options })
    }

    /// Under `use_rslora`, $\alpha/\sqrt r$ is the scale (arXiv:2312.03732).
    fn read(&self, module: &PeftModule) -> Result<Acts, &'static str> {
        let rank = module.shape(DOWN).first();
        // B has the groups of the layer, r / groups columns each; A has none and sees all channels.
        if let (Some(&rank), &[_, columns, _, ..]) = (rank, module.shape(UP))
            && columns < rank
            && rank.is_multiple_of(columns)
        {
            return Err(
                "a LoRA of a grouped convolution as PEFT builds it, where every group sees the \
                 channels of all, as no weight of that layer does (PEFT cannot merge it either); \
                 leave the layer out, or train it with LyCORIS",
            );
        }
        let stabilised = match rank {
            Some(&rank) if module.is_set("use_rslora") => (rank as f64).sqrt(),
            _ => 1.0,
        };
        if module.is_set("use_dora") && !module.shapes.contains_key(NORMS) {
            return Err("use_dora is set, but it has no magnitudes; save the adapter again");
        }
        let alpha = module.alpha.map(|alpha| alpha * stabilised);
        let has_bias = module.shapes.contains_key(BIAS);
        if has_bias && module.shapes.contains_key("alpha") {
            return Err("a bias of its own beside an alpha, which no program writes; remove one");
        }
        let scale = alpha.zip(rank).map_or(1.0, |(alpha, rank)| alpha / *rank as f64);
        let factor = has_bias.then_some((BIAS, scale));
        Ok(Acts { alpha, factor, ..Acts::default() })
    }
}

/// The rank of both factors.
fn rank(module: &Parts) -> Result<usize, NotHeld> {
    let (Some(down), Some(up)) = (module.shape(DOWN), module.shape(UP)) else {
        return Err(NotHeld::new(module, "a part of a low-rank adapter"));
    };
    let (&[rank, _, ..], &[out, columns, ..]) = (&down[..], &up[..]) else {
        return Err(NotHeld::new(module, "factors that are no matrices"));
    };
    if rank == 0 || rank != columns {
        return Err(NotHeld::new(module, "factors of different or no rank"));
    }
    let by_output =
        |norms: &[usize]| norms.first() == Some(&out) && norms.iter().product::<usize>() == out;
    if module.shape(NORMS).is_some_and(|norms| !by_output(&norms)) {
        return Err(NotHeld::new(module, "dora_scale along the input"));
    }
    Ok(rank)
}

const START: &str = "init_lora_weights";

/// How training began. Some starts have arguments behind an underscore.
fn start(value: &Value) -> Meaning {
    let Some(start) = value.as_str() else {
        let is_known = value.is_boolean();
        return if is_known { Meaning::None } else { Meaning::Other(no_flag(START, value)) };
    };
    let name = start.to_lowercase();
    let is_one_of = |known: &[&str]| known.iter().any(|known| name.starts_with(known));
    if is_one_of(&["pissa", "olora", "corda", "loftq", "lora_ga"]) {
        // The file is then the difference from another base.
        return Meaning::Other(format!(
            "{START} is {start:?}, which changes the base before training; save it as a plain LoRA \
             with PEFT's path_initial_model_for_weight_conversion, or merge it with PEFT"
        ));
    }
    let leaves_base = is_one_of(&["gaussian", "eva", "orthogonal", "mica"]);
    if leaves_base { Meaning::None } else { Meaning::Unknown }
}

/// Options that are read.
const FLAGS: [&str; 2] = ["use_dora", "use_rslora"];

fn no_flag(option: &str, value: &Value) -> String {
    format!("{option} is {value}, neither true nor false; save the adapter again")
}

/// Options about training, or that the tensors themselves tell; `use_rslora` is seen to.
const HARMLESS: [&str; 13] = [
    "corda_config",
    "ephemeral_gpu_offload",
    "eva_config",
    "loftq_config",
    "lora_bias",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "qalora_group_size",
    "use_dora",
    "use_rslora",
    "velora_config",
];

/// Options under which the update is another one, and how.
const REFUSED: [(&str, &str); 9] = [
    ("alora_invocation_tokens", "the adapter acts on some tokens only"),
    ("arrow_config", "each token chooses among several adapters"),
    ("fan_in_fan_out", "the base stores its weights transposed"),
    ("kasa_config", "the base is one without its smallest singular values"),
    ("layer_replication", "the model repeats layers of the base"),
    ("monteclora_config", "the factors are drawn at random"),
    ("target_parameters", "it adapts single parameters, not layers"),
    ("use_bdlora", "the factors are block diagonal"),
    ("use_qalora", "the input is pooled in groups"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_another_update_are_refused_with_the_remedy() {
        for (option, value, begin) in [
            ("fan_in_fan_out", json!(true), "fan_in_fan_out is set, the base stores"),
            ("alora_invocation_tokens", json!([1]), "alora_invocation_tokens is set, "),
            (START, json!("pissa_niter_4"), "init_lora_weights is \"pissa_niter_4\""),
            (START, json!("OLoRA"), "init_lora_weights is \"OLoRA\", which changes"),
        ] {
            let Meaning::Other(why) = Form.meaning(option, &value) else { panic!("{option}") };
            assert!(why.starts_with(begin) && why.contains("merge it with PEFT"), "{why}");
        }
        // These start elsewhere, and leave the base as it is.
        for start in [json!("gaussian"), json!("eva"), json!("orthogonal"), json!(false)] {
            assert_eq!(Form.meaning(START, &start), Meaning::None);
        }
        assert_eq!(Form.meaning(START, &json!("other")), Meaning::Unknown);
    }

    #[test]
    fn rank_stabilised_alpha_is_scaled_for_the_reader() {
        let options = json!({"use_rslora": true});
        let module = PeftModule {
            shapes: [(DOWN, &[16, 4][..])].into(),
            rank: None,
            alpha: Some(8.0),
            options: options.as_object(),
        };
        // alpha / sqrt(rank) = (alpha sqrt(rank)) / rank
        assert_eq!(Form.read(&module).unwrap().alpha, Some(32.0));
    }

    #[test]
    fn a_bias_is_scaled_as_its_product_is() {
        let options = json!({"use_rslora": true});
        let read = |alpha| {
            let module = PeftModule {
                shapes: [(DOWN, &[4, 3][..]), (UP, &[5, 4]), (BIAS, &[5])].into(),
                rank: None,
                alpha,
                options: options.as_object(),
            };
            Form.read(&module).unwrap().factor
        };
        // alpha / sqrt(rank)
        assert_eq!(read(Some(8.0)), Some((BIAS, 4.0)));
        assert_eq!(read(None), Some((BIAS, 1.0)));
    }

    #[test]
    fn norms_change_their_shape_and_nothing_else_does() {
        for (ours, theirs) in [([3, 1].as_slice(), [3].as_slice()), (&[3, 1, 1, 1], &[1, 3, 1, 1])]
        {
            assert_eq!(Form.their_shape(NORMS, ours), theirs);
            assert_eq!(Form.our_shape(NORMS, theirs), ours);
            assert_eq!(Form.our_shape(UP, ours), ours);
        }
    }
}
