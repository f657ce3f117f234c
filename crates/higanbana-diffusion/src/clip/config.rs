//! The configuration of a text encoder, from transformers' `config.json`.

use std::path::Path;

use serde_json::Value;

use crate::{ModelError, config::Fields};

/// What a text encoder is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// Number of tokens that there are.
    pub vocabulary: usize,
    /// Number of positions of a text.
    pub positions: usize,
    /// Width of the features.
    pub width: usize,
    /// Width inside the layers on each position.
    pub inner: usize,
    /// Number of layers.
    pub layers: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Between the two layers on each position.
    pub activation: Activation,
    /// Epsilon of the layer normalisations.
    pub norm_eps: f64,
    /// The token that ends a text.
    pub end: usize,
    /// Width of the pooled text, where it is projected.
    pub projection: Option<usize>,
}

/// Two forms of the GELU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// $x \Phi(x)$: OpenCLIP's models.
    Gelu,
    /// $x sigmoid(1.702 x)$: OpenAI's models.
    QuickGelu,
}

impl ClipConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, is another class's, or has a field or a value that is not supported.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Self::from_fields(Fields::read(path, &["CLIPTextModel", "CLIPTextModelWithProjection"])?)
    }

    /// Takes all fields; the defaults are those of transformers.
    ///
    /// # Errors
    /// When a field or a value is not supported.
    pub fn from_fields(mut f: Fields) -> Result<Self, ModelError> {
        f.only("model_type", "clip_text_model")?;
        f.only("attention_dropout", 0)?;
        f.only("dropout", 0)?;
        f.only("is_decoder", false)?;
        f.only("add_cross_attention", false)?;
        let projects = f.class() == Some("CLIPTextModelWithProjection");
        let projection: Option<usize> = f.take("projection_dim", None)?;
        f.ignore(&[
            "architectures",
            "bos_token_id",
            "chunk_size_feed_forward",
            "dtype",
            "initializer_factor",
            "initializer_range",
            "output_attentions",
            "output_hidden_states",
            "pad_token_id",
            "problem_type",
            "return_dict",
            "tie_word_embeddings",
            "torch_dtype",
            "transformers_version",
            "use_cache",
        ]);
        let activation: String = f.take("hidden_act", "quick_gelu".into())?;
        let config = Self {
            vocabulary: f.take("vocab_size", 49408)?,
            positions: f.take("max_position_embeddings", 77)?,
            width: f.take("hidden_size", 512)?,
            inner: f.take("intermediate_size", 2048)?,
            layers: f.take("num_hidden_layers", 12)?,
            heads: f.take("num_attention_heads", 8)?,
            activation: match activation.as_str() {
                "gelu" => Activation::Gelu,
                "quick_gelu" => Activation::QuickGelu,
                other => {
                    let reason = format!("is {other}; gelu and quick_gelu are supported");
                    return Err(f.wrong("hidden_act", reason));
                }
            },
            norm_eps: f.take("layer_norm_eps", 1e-5)?,
            end: match f.take("eos_token_id", Value::from(49407))? {
                Value::Null => 49407,
                value => value
                    .as_u64()
                    .ok_or_else(|| f.wrong("eos_token_id", format!("cannot be {value}")))?
                    as usize,
            },
            projection: projects.then_some(projection.unwrap_or(512)),
        };
        f.at_most("num_hidden_layers", config.layers)?;
        if config.heads == 0 || config.width == 0 || !config.width.is_multiple_of(config.heads) {
            let reason = format!("is {}, which does not divide {}", config.heads, config.width);
            return Err(f.wrong("num_attention_heads", reason));
        }
        f.finish()?;
        Ok(config)
    }
}
