//! Embeddings (textual inversion): vectors that a text encoder takes for a token of its own.
//!
//! | form | tensors | the token |
//! |---|---|---|
//! | the web UI | `emb_params`, `string_to_param.*` | the name of the file |
//! | the same for SDXL | `clip_l` and `clip_g`, or `text_encoders_0` and `text_encoders_1` | the name of the file |
//! | diffusers | `<token>`, or the only tensor | the name of the tensor |
//! | cloneofsimo, in an adapter's file | `<s1>`, where the metadata say `<embed>` | the name of the tensor |
//! | LyCORIS, in an adapter's file | `bundle_emb.NAME.` and one of the web UI's | `NAME` |
//!
//! The name of a file gives way to a `modelspec.trigger_phrase` of one word.

mod form;
#[cfg(test)]
mod tests;

use burn::tensor::TensorData;
use serde::Serialize;

use crate::{Checkpoint, FileError, cast, names::Component};
pub(crate) use form::is_bundled;
pub use form::{TRIGGER, keys};

/// The vectors of a token for one text encoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// The token.
    pub token: String,
    /// The encoder, where the file names it.
    pub encoder: Option<Component>,
    /// Key of the tensor.
    pub key: String,
    /// Number of vectors, each of which takes the place of a token.
    pub vectors: usize,
    /// Width of the vectors.
    pub width: usize,
    /// Their element type.
    pub dtype: String,
}

impl Embedding {
    /// Those of a file, also those that it bundles with an adapter; none if it holds something else.
    ///
    /// # Errors
    /// When the tensor of an embedding has an impossible shape.
    pub fn all(file: &Checkpoint) -> Result<Vec<Self>, FileError> {
        Self::of(file, |key| form::alone(file, key).or_else(|| form::bundled(file, key)))
    }

    /// Those that the file of an adapter holds besides.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub fn bundled(file: &Checkpoint) -> Result<Vec<Self>, FileError> {
        Self::of(file, |key| form::bundled(file, key))
    }

    fn of(
        file: &Checkpoint,
        place: impl Fn(&str) -> Option<form::Place>,
    ) -> Result<Vec<Self>, FileError> {
        let placed = file.names().iter().filter_map(|key| Some((key, place(key)?)));
        let mut all = placed
            .map(|(key, form::Place { token, encoder })| {
                let info = file.info(key).expect("it is one of the file's");
                let (vectors, width) = match info.shape[..] {
                    [width] if width > 0 => (1, width),
                    [vectors, width] if vectors > 0 && width > 0 => (vectors, width),
                    _ => {
                        let (path, key, shape) =
                            (file.path().into(), key.clone(), info.shape.clone());
                        let expected = "[width] or [vectors, width] of a text encoder";
                        return Err(FileError::Shape { path, key, shape, expected });
                    }
                };
                let (key, dtype) = (key.clone(), info.dtype.to_string());
                Ok(Self { token, encoder, key, vectors, width, dtype })
            })
            .collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| (&a.token, a.encoder, &a.key).cmp(&(&b.token, b.encoder, &b.key)));
        Ok(all)
    }

    /// The published text encoder that has this width, if there is one.
    pub fn published(&self) -> Option<&'static str> {
        match (self.encoder, self.width) {
            (Some(Component::TextEncoder), _) => Some("SDXL's first"),
            (Some(Component::TextEncoder2), _) | (None, 1280) => Some("SDXL's second"),
            (None, 768) => Some("SD 1's"),
            (None, 1024) => Some("SD 2's"),
            _ => None,
        }
    }

    /// The vectors, `[vectors, width]` in single precision.
    ///
    /// # Errors
    /// When they cannot be read or are not finite.
    pub fn read(&self, file: &Checkpoint) -> Result<TensorData, FileError> {
        let data = file.read(&self.key)?;
        cast::check_finite(file.path(), &self.key, &data)?;
        let values = cast::to_f32(file.path(), &self.key, &data)?;
        Ok(TensorData::new(values, [self.vectors, self.width]))
    }
}
