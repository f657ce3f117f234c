//! Tokens that a training gives to the text encoders, and what it leaves of them.

use std::collections::BTreeMap;

use burn::tensor::DType;
use higanbana_core::Tensors;
use higanbana_diffusion::{ModelError, Pipeline};
use higanbana_io::{cast, embedding, ledger::Ledger, writer::stage_tensors};

use crate::{TrainError, network::Network, recipe::Recipe};

/// A token that a pipeline has learnt for a training; tokens are in the order in which it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// What texts call it.
    pub token: String,
    /// The rate at which it is trained, if it is.
    pub rate: Option<f64>,
    /// Whether the adapter's file brings it along.
    pub bundle: bool,
    /// The file of its own that it gets.
    pub file: Option<String>,
}

/// Teaches a pipeline the tokens of a recipe.
///
/// # Errors
/// When a file cannot be read or does not fit the text encoders, or a token cannot be learnt.
pub fn learn(pipeline: &mut Pipeline, recipe: &Recipe) -> Result<Vec<Token>, TrainError> {
    let mut tokens = Vec::new();
    for (index, it) in recipe.embeddings.iter().enumerate() {
        let wrong =
            |error: String| TrainError::recipe("RUN.toml", format!("embeddings.{index}: {error}"));
        let of_words = |error| match error {
            ModelError::Input { name, reason } => wrong(format!("{name}: {reason}")),
            error => error.into(),
        };
        let learnt = match (&it.file, &it.token) {
            (Some(file), token) => {
                let learnt = pipeline.learn_files(&[(file, token.as_deref())])?;
                learnt.into_iter().map(|learnt| learnt.token).collect()
            }
            (None, token) => {
                let (token, words) = (token.clone().unwrap_or_default(), it.words.as_deref());
                let words = words.unwrap_or_default();
                pipeline.learn_words(&token, words, it.vectors).map_err(of_words)?;
                vec![token]
            }
        };
        if let Some(token) = learnt.iter().find(|token| it.bundle && token.contains('.')) {
            return Err(wrong(format!(
                "bundle: the token {token} has a dot, which a bundle cannot name"
            )));
        }
        tokens.extend(learnt.into_iter().map(|token| Token {
            token,
            rate: it.is_trained().then_some(it.rate.unwrap_or(recipe.train.rate)),
            bundle: it.bundle,
            file: it.product(),
        }));
    }
    Ok(tokens)
}

/// Which of them are trained.
pub fn trained(tokens: &[Token]) -> Vec<bool> {
    tokens.iter().map(|token| token.rate.is_some()).collect()
}

/// The tensors of those that the adapter's file brings along.
pub fn bundled(tokens: &[Token], network: &Network, dtype: DType) -> Tensors {
    let bundled = tokens.iter().enumerate().filter(|(_, token)| token.bundle);
    bundled.flat_map(|(index, token)| tensors(&token.token, index, network, dtype, true)).collect()
}

/// Writes those that get files of their own into the folder of a run, with the metadata of the training.
///
/// # Errors
/// When a value is not finite in that element type, or a file cannot be written.
pub fn save(
    files: &mut Ledger,
    tokens: &[Token],
    network: &Network,
    metadata: &BTreeMap<String, String>,
    dtype: DType,
) -> Result<(), TrainError> {
    for (index, Token { token, file, .. }) in tokens.iter().enumerate() {
        let Some(name) = file else { continue };
        let (tensors, path) =
            (tensors(token, index, network, dtype, false), files.folder().join(name));
        tensors.iter().try_for_each(|(key, data)| cast::check_finite(&path, key, data))?;
        let mut about = metadata.clone();
        about.extend([
            ("modelspec.title".to_string(), token.clone()),
            (embedding::TRIGGER.to_string(), token.clone()),
        ]);
        if let Some(architecture) = about.get_mut("modelspec.architecture") {
            *architecture = architecture.replace("/lora", "/textual-inversion");
        }
        files.write(name, |path, replaces| -> Result<_, TrainError> {
            Ok(stage_tensors(path, &tensors, &about, replaces)?)
        })?;
    }
    Ok(())
}

/// A token's tensors as a file has them.
fn tensors(token: &str, index: usize, network: &Network, dtype: DType, bundled: bool) -> Tensors {
    let keys = embedding::keys(token, network.encoders.len(), bundled);
    let vectors = network.encoders.iter().map(|encoder| {
        let data = encoder.learnt()[index].val().into_data();
        cast::cast(data, dtype).expect("it is not quantised")
    });
    keys.into_iter().zip(vectors).collect()
}
