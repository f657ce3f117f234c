//! PEFT's options: which of them change what the tensors mean.

use serde_json::{Map, Value};

/// Options about training, about which layers were chosen, or that the tensors themselves tell.
const HARMLESS: [&str; 35] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "decompose_both",
    "decompose_factor",
    "ensure_weight_tying",
    "ephemeral_gpu_offload",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "module_dropout",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "rank_dropout",
    "rank_dropout_scale",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "trainable_token_indices",
    "use_dora",
    "use_effective_conv2d",
    "use_rslora",
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

/// Starts that change the base: the file is then the difference from another one.
const MOVES_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];
/// Starts that leave it as it is; `pissa` and the like have arguments behind an underscore.
const LEAVES_BASE: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

/// Why the tensors cannot be read as what they look like, with the remedy, under these options.
pub(super) fn refusal(options: &Map<String, Value>) -> Option<String> {
    let refused = REFUSED.iter().find(|(name, _)| options.get(*name).is_some_and(is_set));
    if let Some((name, how)) = refused {
        return Some(format!("{name} is set, {how}; merge it with PEFT"));
    }
    let start = options.get(START)?.as_str()?;
    starts_as(start, &MOVES_BASE).then(|| {
        format!(
            "{START} is {start:?}, which changes the base before training; save it as a plain LoRA \
             with PEFT's path_initial_model_for_weight_conversion, or merge it with PEFT"
        )
    })
}

/// Options whose meaning is not known here.
pub(super) fn unknown(options: &Map<String, Value>) -> Vec<&str> {
    let is_known = |name: &str, value: &Value| match (name, value) {
        (START, Value::String(start)) => starts_as(start, &LEAVES_BASE),
        (START, _) => true,
        _ => HARMLESS.contains(&name) || REFUSED.iter().any(|(refused, _)| *refused == name),
    };
    let unknown = options.iter().filter(|(name, value)| is_set(value) && !is_known(name, value));
    unknown.map(|(name, _)| name.as_str()).collect()
}

const START: &str = "init_lora_weights";

fn starts_as(start: &str, known: &[&str]) -> bool {
    let start = start.to_lowercase();
    known.iter().any(|known| start.starts_with(known))
}

/// Whether an option has a value other than none, no, and nothing.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_peft_writes_by_default_is_known() {
        // Of `LoraConfig`, `LoHaConfig` and `LoKrConfig` of PEFT 0.21.2.
        let options = options(json!({
            "alora_invocation_tokens": null, "arrow_config": null, "bias": "none",
            "auto_mapping": {"base_model_class": "X"}, "eva_config": null, "fan_in_fan_out": false,
            "init_lora_weights": true, "inference_mode": true, "loftq_config": {},
            "lora_dropout": 0.1, "megatron_core": "megatron.core", "peft_version": "0.21.2",
            "qalora_group_size": 16, "target_modules": ["a"], "use_qalora": false,
            "init_weights": true, "decompose_factor": -1, "use_effective_conv2d": true,
        }));
        assert_eq!((refusal(&options), unknown(&options)), (None, vec![]));
    }

    #[test]
    fn options_of_another_update_are_refused_with_the_remedy() {
        for (value, begin) in [
            (json!({"fan_in_fan_out": true}), "fan_in_fan_out is set, the base stores"),
            (json!({"alora_invocation_tokens": [1]}), "alora_invocation_tokens is set, "),
            (
                json!({"init_lora_weights": "pissa_niter_4"}),
                "init_lora_weights is \"pissa_niter_4\"",
            ),
            (
                json!({"init_lora_weights": "OLoRA"}),
                "init_lora_weights is \"OLoRA\", which changes",
            ),
        ] {
            let refusal = refusal(&options(value)).unwrap();
            assert!(
                refusal.starts_with(begin) && refusal.contains("merge it with PEFT"),
                "{refusal}"
            );
        }
        // These start elsewhere, and leave the base as it is.
        for start in ["gaussian", "eva", "orthogonal"] {
            let options = options(json!({"init_lora_weights": start}));
            assert_eq!((refusal(&options), unknown(&options)), (None, vec![]));
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let options = options(json!({"new": 1, "off": false, "init_lora_weights": "other"}));
        assert_eq!(unknown(&options), ["new", "init_lora_weights"]);
    }
}
