//! What the names and shapes of a model's layers tell of it.

use crate::names::Component;
use crate::{Checkpoint, Names, Target};

/// Whether a module is an embedding, whose weight is a matrix too: the last part of its path tells.
pub(super) fn is_embedding(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    last.ends_with("embedding") || last.ends_with("embeddings") || EMBEDDINGS.contains(&last)
}

/// Other names of embeddings in language models.
const EMBEDDINGS: [&str; 4] = ["embed_tokens", "wte", "wpe", "shared"];

/// What kohya's trainer calls the base, by the width of the text that its UNet attends to.
pub(super) fn base_model_version(base: &Checkpoint, names: &Names) -> Option<String> {
    let attends = |target: &&Target| {
        target.component == Component::Unet
            && target.path.as_deref().is_some_and(|path| path.ends_with("attn2.to_k"))
    };
    let target = names.targets().iter().find(attends)?;
    let version = match base.info(&target.weight)?.shape[..] {
        [_, 768] => "sd_v1",
        [_, 1024] => "sd_v2",
        [_, 2048] => "sdxl_base_v1-0",
        _ => return None,
    };
    Some(version.into())
}
