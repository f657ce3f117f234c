//! Prompts to tokens.

mod chunks;
mod emphasis;
mod tokenizer;

pub use chunks::{Chunk, caption_chunks, chunks};
pub use emphasis::{Piece, pieces};
pub use tokenizer::{END, Tokenizer};
