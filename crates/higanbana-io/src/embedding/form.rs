//! Which tensors of a file are embeddings, and of which tokens.

use crate::{Checkpoint, names::Component};

/// What a key stands for.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    pub token: String,
    pub encoder: Option<Component>,
}

/// What the keys of LyCORIS's bundles begin with.
const BUNDLE: &str = "bundle_emb.";
/// What cloneofsimo's metadata say of a token.
const EMBED: &str = "<embed>";
/// Where the metadata of a file name the word that calls it.
pub const TRIGGER: &str = "modelspec.trigger_phrase";
/// Tokens of a text between its begin and its end: a matrix of more rows is no embedding.
const MOST: usize = 75;

/// The keys of a token's tensors, those of the first encoder first: of one encoder as diffusers has it, of two
/// as the web UI, and in an adapter's file as LyCORIS bundles it.
///
/// ```
/// use higanbana_io::embedding::keys;
///
/// assert_eq!(keys("<lily>", 1, false), ["<lily>"]);
/// assert_eq!(keys("<lily>", 2, false), ["clip_l", "clip_g"]);
/// assert_eq!(keys("lily", 1, true), ["bundle_emb.lily.string_to_param.*"]);
/// assert_eq!(keys("lily", 2, true), ["bundle_emb.lily.clip_l", "bundle_emb.lily.clip_g"]);
/// ```
pub fn keys(token: &str, encoders: usize, bundled: bool) -> Vec<String> {
    let bundle = if bundled { format!("{BUNDLE}{token}.") } else { String::new() };
    match (encoders, bundled) {
        (1, false) => vec![token.into()],
        (1, true) => vec![bundle + "string_to_param.*"],
        _ => ["clip_l", "clip_g"].map(|key| bundle.clone() + key).into(),
    }
}

/// The encoder of a tensor of the web UI's, if it is one.
fn encoder(key: &str) -> Option<Option<Component>> {
    match key {
        "emb_params" => Some(None),
        "clip_l" | "text_encoders_0" => Some(Some(Component::TextEncoder)),
        "clip_g" | "text_encoders_1" => Some(Some(Component::TextEncoder2)),
        key => key.starts_with("string_to_param.").then_some(None),
    }
}

/// A tensor of a file of embeddings.
pub(super) fn alone(file: &Checkpoint, key: &str) -> Option<Place> {
    if let Some(encoder) = encoder(key) {
        return Some(Place { token: own(file), encoder });
    }
    let is_token = key.len() > 2 && key.starts_with('<') && key.ends_with('>')
        || file.metadata().get(TRIGGER).is_some_and(|phrase| phrase == key);
    let shape = file.info(key).map_or(&[][..], |info| &info.shape);
    let is_matrix = matches!(shape, [_] | [..=MOST, _]);
    let is_only = file.names().len() == 1 && !key.contains('.') && is_matrix;
    (is_token || is_only).then(|| Place { token: key.into(), encoder: None })
}

/// A tensor of an adapter's file that is an embedding.
pub(super) fn bundled(file: &Checkpoint, key: &str) -> Option<Place> {
    if file.metadata().get(key).is_some_and(|it| it == EMBED) {
        return Some(Place { token: key.into(), encoder: None });
    }
    let (token, key) = key.strip_prefix(BUNDLE)?.split_once('.')?;
    Some(Place { token: token.into(), encoder: encoder(key)? })
}

/// Whether a tensor of an adapter's file is an embedding.
pub(crate) fn is_bundled(file: &Checkpoint, key: &str) -> bool {
    bundled(file, key).is_some()
}

/// The token of a file that holds one.
fn own(file: &Checkpoint) -> String {
    let phrase = file.metadata().get(TRIGGER);
    match phrase.filter(|phrase| phrase.split_whitespace().count() == 1) {
        Some(phrase) => phrase.trim().into(),
        None => file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    }
}
