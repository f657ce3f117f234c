//! Prompts to tokens.

mod chunks;
mod edits;
mod emphasis;
mod learnt;
mod prompt;
mod tokenizer;

pub use chunks::{BACKTRACK, Chunk, caption_chunks, chunks};
pub use emphasis::{Piece, sections};
pub use prompt::{Part, Prompt, Stage};
pub use tokenizer::{END, Tokenizer};
