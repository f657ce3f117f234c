//! Prompts to tokens.

mod chunks;
mod emphasis;
mod tokenizer;

pub use chunks::{Chunk, chunks};
pub use emphasis::{Piece, pieces};
pub use tokenizer::{END, Tokenizer};
