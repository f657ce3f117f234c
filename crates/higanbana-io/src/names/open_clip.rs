//! OpenCLIP's text encoder, as single files of SD 2 and SDXL store it, by the names of Hugging Face's CLIP.

use super::Part;

/// A parameter of Hugging Face's text encoder inside an OpenCLIP parameter.
pub(super) struct Inside {
    /// `text_model...`, without `.weight`.
    pub module: String,
    /// The rows it takes, where OpenCLIP fuses several.
    pub part: Option<Part>,
}

/// What the OpenCLIP weight `key` (below the encoder's prefix) holds. `text_projection` is not
/// among it: it is stored transposed.
pub(super) fn weights(key: &str) -> Vec<Inside> {
    let whole = |module: String| vec![Inside { module, part: None }];
    let Some(layer) = key.strip_prefix("transformer.resblocks.") else {
        return match key {
            "token_embedding.weight" => whole("text_model.embeddings.token_embedding".into()),
            "positional_embedding" => whole("text_model.embeddings.position_embedding".into()),
            "ln_final.weight" => whole("text_model.final_layer_norm".into()),
            _ => vec![],
        };
    };
    let Some((index, parameter)) = layer.split_once('.') else { return vec![] };
    let module = |name: &str| format!("text_model.encoder.layers.{index}.{name}");
    match parameter {
        "ln_1.weight" => whole(module("layer_norm1")),
        "ln_2.weight" => whole(module("layer_norm2")),
        "mlp.c_fc.weight" => whole(module("mlp.fc1")),
        "mlp.c_proj.weight" => whole(module("mlp.fc2")),
        "attn.out_proj.weight" => whole(module("self_attn.out_proj")),
        // Query, key and value are stacked on the rows.
        "attn.in_proj_weight" => ["q", "k", "v"]
            .iter()
            .enumerate()
            .map(|(index, name)| Inside {
                module: module(&format!("self_attn.{name}_proj")),
                part: Some(Part { index, of: 3 }),
            })
            .collect(),
        _ => vec![],
    }
}
