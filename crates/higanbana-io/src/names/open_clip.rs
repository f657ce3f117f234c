//! OpenCLIP's text encoder, as single files of SD 2 and SDXL store it, by the names of Hugging Face's CLIP.

use super::Part;

/// The projection of the pooled output, beside the `text_model`.
const PROJECTION: &str = "text_projection";

/// A parameter of Hugging Face's text encoder inside an OpenCLIP parameter.
pub(super) struct Inside {
    /// `text_model...`, without `.weight`.
    pub module: String,
    /// The rows it takes, where OpenCLIP fuses several.
    pub part: Option<Part>,
    /// Whether it is stored transposed.
    pub transposed: bool,
}

/// What the OpenCLIP weight `key` (below the encoder's prefix) holds.
pub(super) fn weights(key: &str) -> Vec<Inside> {
    let whole = |module: String| vec![Inside { module, part: None, transposed: false }];
    let Some(layer) = key.strip_prefix("transformer.resblocks.") else {
        return match key {
            "token_embedding.weight" => whole("text_model.embeddings.token_embedding".into()),
            "positional_embedding" => whole("text_model.embeddings.position_embedding".into()),
            "ln_final.weight" => whole("text_model.final_layer_norm".into()),
            "text_projection.weight" => whole(PROJECTION.into()),
            // A parameter of its own there, multiplied from the other side.
            "text_projection" => {
                vec![Inside { module: PROJECTION.into(), part: None, transposed: true }]
            }
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
                transposed: false,
            })
            .collect(),
        _ => vec![],
    }
}
