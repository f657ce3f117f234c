//! The text encoder.

use std::path::Path;

use burn::{
    module::{Module, Param},
    nn::{LayerNorm, LayerNormConfig, LinearConfig},
    tensor::{DType, Device, Int, Tensor, TensorData, activation::sigmoid},
};
use higanbana_adapters::layers::Linear;
use higanbana_core::ops::gelu;

use super::{
    config::{Activation, ClipConfig},
    embeddings::CLIPTextEmbeddings,
};
use crate::{ModelError, Weights, unet::attention::attend, weights};

/// What the encoder makes of texts.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The embeddings, then the result of each layer: `[batch, tokens, width]`, without the final
    /// normalisation.
    pub hidden: Vec<Tensor<3>>,
    /// The last of these, normalised.
    pub last: Tensor<3>,
    /// The same at the end of each text, projected where the encoder does that: `[batch, width]`.
    pub pooled: Tensor<2>,
}

/// A text encoder, with or without projection.
#[derive(Module, Debug)]
pub struct CLIPTextModel {
    text_model: CLIPTextTransformer,
    text_projection: Option<Linear>,
    #[module(skip)]
    config: ClipConfig,
}

impl CLIPTextModel {
    /// A model with random weights, none of which exists before it is used.
    pub fn new(config: &ClipConfig, device: &Device) -> Self {
        let projection = |out| LinearConfig::new(config.width, out).with_bias(false);
        Self {
            text_model: CLIPTextTransformer::new(config, device),
            text_projection: config.projection.map(|out| Linear::new(&projection(out), device)),
            config: config.clone(),
        }
    }

    /// Reads a folder with `config.json` and weights, as transformers saves it.
    ///
    /// # Errors
    /// When the configuration is not supported, or the weights are not those that it describes.
    pub fn read(folder: &Path, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let config = ClipConfig::read(&folder.join("config.json"))?;
        let weights = Self::weights(folder)?;
        let projection = weights.shape("text_projection.weight").map(|shape| shape[0]);
        let config = ClipConfig { projection, ..config };
        weights::load(Self::new(&config, device), &weights, dtype)
    }

    /// The weights of a folder, without a buffer that old files hold, and with a prefix that new ones
    /// leave out.
    pub(crate) fn weights(folder: &Path) -> Result<Weights, ModelError> {
        let weights = Weights::folder(folder)?.without(|key| key.ends_with(".position_ids"));
        weights.renamed(|key| match key.split('.').next() {
            Some("text_model" | "text_projection") => key.into(),
            _ => format!("text_model.{key}"),
        })
    }

    /// What it is made of.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Number of tokens that there are: those of the vocabulary, then the vectors of those learnt.
    pub fn tokens(&self) -> usize {
        self.config.vocabulary + self.text_model.embeddings.rows()
    }

    /// The vectors of the tokens that it has [learnt](Self::learn), `[vectors, width]` each.
    pub fn learnt(&self) -> &[Param<Tensor<2>>] {
        self.text_model.embeddings.learnt()
    }

    /// The vectors of tokens, `[tokens, width]` in single precision.
    ///
    /// # Panics
    /// When there is none of a number.
    pub fn vectors_of(&self, tokens: &[usize]) -> Tensor<2> {
        assert!(tokens.iter().all(|token| *token < self.tokens()), "a token that there is not");
        let embeddings = &self.text_model.embeddings;
        let ids = ids(tokens.iter(), [1, tokens.len()], &embeddings.device());
        embeddings.tokens(ids).squeeze_dim::<2>(0).cast(DType::F32)
    }

    /// The vectors of the learnt token whose first number this is.
    pub fn vectors(&self, number: usize) -> Option<Tensor<2>> {
        let mut next = self.config.vocabulary;
        self.learnt().iter().find_map(|rows| {
            let first = next;
            next += rows.lazy_shape()[0];
            (first == number).then(|| rows.val())
        })
    }

    /// With a token more, of these vectors `[vectors, width]`: its numbers follow those that
    /// [there are](Self::tokens), one for each vector.
    #[must_use]
    pub fn learn(mut self, vectors: Tensor<2>) -> Self {
        self.text_model.embeddings = self.text_model.embeddings.learn(vectors);
        self
    }

    /// With those of its learnt tokens trained that `which` says, the first first; they are not at first.
    #[must_use]
    pub fn training(mut self, which: &[bool]) -> Self {
        self.text_model.embeddings = self.text_model.embeddings.training(which);
        self
    }

    /// The result of a layer as diffusers' `clip_skip` takes it: with the final normalisation.
    pub fn normalised(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.text_model.final_layer_norm.forward(hidden)
    }

    /// Tokens of a batch of texts, all of one length.
    ///
    /// # Errors
    /// When the lengths differ, a text is longer than the positions, or a token is unknown.
    pub fn forward(&self, texts: &[Vec<usize>]) -> Result<Encoded, ModelError> {
        self.check(texts)?;
        let model = &self.text_model;
        let (batch, length) = (texts.len(), texts[0].len());
        let device = model.embeddings.device();
        let ids = ids(texts.iter().flatten(), [batch, length], &device);

        let mut hidden = vec![model.embeddings.forward(ids)];
        for layer in &model.encoder.layers {
            hidden.push(layer.forward(hidden[hidden.len() - 1].clone()));
        }
        let last = self.normalised(hidden[hidden.len() - 1].clone());
        let ends = texts.iter().enumerate().map(|(row, text)| {
            last.clone().narrow(0, row, 1).narrow(1, self.end(text), 1).squeeze_dim::<2>(1)
        });
        let pooled = Tensor::cat(ends.collect(), 0);
        let pooled = match &self.text_projection {
            Some(projection) => projection.forward(pooled),
            None => pooled,
        };
        Ok(Encoded { hidden, last, pooled })
    }

    /// Where a text ends: at its first end token. Old configurations name a wrong one, and mean the
    /// token of the largest number.
    fn end(&self, text: &[usize]) -> usize {
        let end = match self.config.end {
            // Learnt tokens, whose numbers are larger still, end nothing.
            2 => {
                let known = text.iter().copied().filter(|token| *token < self.config.vocabulary);
                known.max().unwrap_or_default()
            }
            end => end,
        };
        text.iter().position(|token| *token == end).unwrap_or(0)
    }

    fn check(&self, texts: &[Vec<usize>]) -> Result<(), ModelError> {
        let Some(first) = texts.first() else {
            return Err(ModelError::input("texts", "are none"));
        };
        let (length, most) = (first.len(), self.config.positions);
        if length == 0 || length > most || texts.iter().any(|text| text.len() != length) {
            let reason = format!("must all be of one length, between 1 and {most} tokens");
            return Err(ModelError::input("texts", reason));
        }
        let tokens = self.tokens();
        match texts.iter().flatten().find(|token| **token >= tokens) {
            None => Ok(()),
            Some(token) => {
                let reason = format!("have the token {token}; this encoder has {tokens}");
                Err(ModelError::input("texts", reason))
            }
        }
    }
}

fn ids<'a>(
    tokens: impl Iterator<Item = &'a usize>,
    shape: [usize; 2],
    device: &Device,
) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::new(ids, shape), device)
}

/// The part that both kinds have.
#[derive(Module, Debug)]
pub struct CLIPTextTransformer {
    embeddings: CLIPTextEmbeddings,
    encoder: CLIPEncoder,
    final_layer_norm: LayerNorm,
}

impl CLIPTextTransformer {
    fn new(config: &ClipConfig, device: &Device) -> Self {
        Self {
            embeddings: CLIPTextEmbeddings::new(config, device),
            encoder: CLIPEncoder {
                layers: (0..config.layers).map(|_| CLIPEncoderLayer::new(config, device)).collect(),
            },
            final_layer_norm: norm(config, device),
        }
    }
}

fn norm(config: &ClipConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.width).with_epsilon(config.norm_eps).init(device)
}

/// The layers.
#[derive(Module, Debug)]
pub struct CLIPEncoder {
    layers: Vec<CLIPEncoderLayer>,
}

/// Attention to the tokens before, then a layer on each token: $x \mathrel{+}= f(norm(x))$.
#[derive(Module, Debug)]
pub struct CLIPEncoderLayer {
    self_attn: CLIPAttention,
    layer_norm1: LayerNorm,
    mlp: CLIPMLP,
    layer_norm2: LayerNorm,
}

impl CLIPEncoderLayer {
    fn new(config: &ClipConfig, device: &Device) -> Self {
        let linear = |input, out| Linear::new(&LinearConfig::new(input, out), device);
        let square = || linear(config.width, config.width);
        Self {
            self_attn: CLIPAttention {
                k_proj: square(),
                v_proj: square(),
                q_proj: square(),
                out_proj: square(),
                heads: config.heads,
            },
            layer_norm1: norm(config, device),
            mlp: CLIPMLP {
                fc1: linear(config.width, config.inner),
                fc2: linear(config.inner, config.width),
                quick: config.activation == Activation::QuickGelu,
            },
            layer_norm2: norm(config, device),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.self_attn.forward(self.layer_norm1.forward(x));
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

/// Attention of each token to itself and those before.
#[derive(Module, Debug)]
pub struct CLIPAttention {
    k_proj: Linear,
    v_proj: Linear,
    q_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl CLIPAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let qkv = [&self.q_proj, &self.k_proj, &self.v_proj].map(|p| p.forward(x.clone()));
        self.out_proj.forward(attend(qkv, self.heads, false, true))
    }
}

/// $W_2 act(W_1 x + b_1) + b_2$.
#[derive(Module, Debug)]
// Presets select by transformers' names of classes.
#[allow(clippy::upper_case_acronyms)]
pub struct CLIPMLP {
    fc1: Linear,
    fc2: Linear,
    quick: bool,
}

impl CLIPMLP {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.fc1.forward(x);
        let x = match self.quick {
            true => x.clone() * sigmoid(x.mul_scalar(1.702)),
            false => gelu(x),
        };
        self.fc2.forward(x)
    }
}
