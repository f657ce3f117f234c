//! Prompts to what a UNet is conditioned on.

use burn::tensor::{Tensor, TensorData};

use super::Pipeline;
use crate::{
    CLIPTextModel, ModelError,
    text::{BACKTRACK, Chunk, Tokenizer, caption_chunks, chunks},
};

/// A tokenizer and the encoder of its tokens.
#[derive(Debug)]
pub struct TextEncoder {
    /// Text to tokens.
    pub tokenizer: Tokenizer,
    /// Tokens to vectors.
    pub model: CLIPTextModel,
}

/// Texts as a UNet takes them.
#[derive(Debug, Clone)]
pub struct Text {
    /// `[texts, tokens, width]`.
    pub context: Tensor<3>,
    /// The pooled texts, `[texts, width]`; used by SDXL.
    pub pooled: Tensor<2>,
}

impl Text {
    /// Zeros of the same shape.
    pub fn nothing(&self) -> Self {
        Self { context: self.context.zeros_like(), pooled: self.pooled.zeros_like() }
    }
}

impl Pipeline {
    /// Texts, whose brackets are weights, all of one length.
    ///
    /// With each text the last layers of the encoder to leave out, as diffusers' `clip_skip` counts
    /// them; 1 is the web UIs' 2. Long texts are split as the web UI splits them.
    ///
    /// # Errors
    /// When a text cannot be encoded, or there are not as many layers.
    pub fn encode(&self, texts: &[(&str, usize)]) -> Result<Vec<Text>, ModelError> {
        self.encode_with(texts, BACKTRACK)
    }

    /// [`Self::encode`] where the end of a full chunk goes back to a comma over so many tokens at most
    /// ([`chunks`]).
    ///
    /// # Errors
    /// As there.
    pub fn encode_with(
        &self,
        texts: &[(&str, usize)],
        backtrack: usize,
    ) -> Result<Vec<Text>, ModelError> {
        let mut of_encoders = vec![Vec::new(); texts.len()];
        for encoder in &self.encoders {
            let positions = encoder.model.config().positions;
            let chunked = |least| {
                let chunk = |(text, _): &(&str, _)| {
                    chunks(&encoder.tokenizer, text, positions, least, backtrack)
                };
                texts.iter().map(chunk).collect::<Result<Vec<_>, _>>()
            };
            let longest = chunked(1)?.iter().map(Vec::len).max().unwrap_or(1);
            for ((chunks, (_, skip)), all) in
                chunked(longest)?.iter().zip(texts).zip(&mut of_encoders)
            {
                let xl = self.encoders.len() > 1;
                all.push(encoded(&encoder.model, chunks, chunks.len(), *skip, xl)?);
            }
        }
        Ok(of_encoders.into_iter().map(joined).collect())
    }
}

/// Texts of `each` chunks: `[chunks, tokens, width]` becomes `[texts, each · tokens, width]`.
fn encoded(
    model: &CLIPTextModel,
    chunks: &[Chunk],
    each: usize,
    skip: usize,
    xl: bool,
) -> Result<Text, ModelError> {
    let layers = model.config().layers;
    // SDXL begins one layer before the last, and takes it as it is.
    let back = skip + usize::from(xl);
    if back >= layers {
        let reason = format!("is {skip}; the text encoder has {layers} layers");
        return Err(ModelError::input("clip skip", reason));
    }
    let texts: Vec<Vec<usize>> = chunks.iter().map(|chunk| chunk.tokens.clone()).collect();
    let encoded = model.forward(&texts)?;
    let hidden = encoded.hidden[layers - back].clone();
    let hidden = match (xl, skip) {
        (true, _) => hidden,
        (false, 0) => encoded.last,
        (false, _) => model.normalised(hidden),
    };
    let [rows, length, width] = hidden.dims();
    let [_, pooled] = encoded.pooled.dims();
    let first = encoded.pooled.reshape([rows / each, each, pooled]).narrow(1, 0, 1);
    Ok(Text {
        context: weighted(hidden, chunks).reshape([rows / each, each * length, width]),
        pooled: first.reshape([rows / each, pooled]),
    })
}

/// Captions as training takes them, plain text in `count` chunks each: `[captions, tokens, width]`.
///
/// # Errors
/// When a caption cannot be split, or `skip` leaves no layer.
pub fn captions(
    encoders: &[(&Tokenizer, &CLIPTextModel)],
    captions: &[String],
    count: usize,
    skip: usize,
) -> Result<Text, ModelError> {
    let texts = encoders.iter().map(|(tokenizer, model)| {
        let positions = model.config().positions;
        let chunks =
            captions.iter().map(|caption| caption_chunks(tokenizer, caption, positions, count));
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?.concat();
        encoded(model, &chunks, count, skip, encoders.len() > 1)
    });
    Ok(joined(texts.collect::<Result<_, _>>()?))
}

/// The vectors of several encoders, side by side; the pooled text is the last one's.
fn joined(texts: Vec<Text>) -> Text {
    let pooled = texts[texts.len() - 1].pooled.clone();
    Text { context: Tensor::cat(texts.into_iter().map(|text| text.context).collect(), 2), pooled }
}

/// Each token's vector times its weight, then all of a chunk scaled back to the mean that they had.
fn weighted(hidden: Tensor<3>, chunks: &[Chunk]) -> Tensor<3> {
    if chunks.iter().all(|chunk| chunk.weights.iter().all(|weight| *weight == 1.0)) {
        return hidden;
    }
    let [count, length, width] = hidden.dims();
    let weights: Vec<f32> = chunks.iter().flat_map(|chunk| chunk.weights.clone()).collect();
    let weights = TensorData::new(weights, [count, length, 1]);
    let weights = Tensor::<3>::from_data(weights, &hidden.device()).cast(hidden.dtype());
    let mean = |x: &Tensor<3>| {
        x.clone().reshape([count, length * width]).mean_dim(1).reshape([count, 1, 1])
    };
    let scaled = hidden.clone() * weights;
    let ratio = mean(&hidden) / mean(&scaled);
    scaled * ratio
}
