//! What the names of a model's layers tell of it.

/// Whether a module is an embedding, whose weight is a matrix too: the last part of its path tells.
pub(super) fn is_embedding(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    last.ends_with("embedding") || last.ends_with("embeddings") || EMBEDDINGS.contains(&last)
}

/// Other names of embeddings in language models.
const EMBEDDINGS: [&str; 4] = ["embed_tokens", "wte", "wpe", "shared"];
