//! Prompts of any length, in pieces that an encoder takes.
//!
//! A chunk ends where it is full, or within the last tokens before that behind a comma, so that what belongs together
//! stays together: the web UI goes back over 20 tokens at most ([`BACKTRACK`]). diffusers has one chunk, and
//! captions of a training are cut where they are full, as kohya's scripts do.

use super::{Piece, Tokenizer, sections};
use crate::ModelError;

/// A text as long as an encoder takes it: its begin, tokens, its end, padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The tokens.
    pub tokens: Vec<usize>,
    /// The weight of each.
    pub weights: Vec<f32>,
}

/// How many of a full chunk's last tokens the web UI looks through for a comma.
pub const BACKTRACK: usize = 20;

/// Chunks of a prompt that are thought to be meant.
const MOST: usize = 100;

/// A prompt, weights included, in chunks of `positions` tokens; one at least, and no fewer than
/// `least`. What follows a `BREAK` begins a chunk, and so does what follows the last comma among the last
/// `backtrack` tokens of a chunk that is full, unless a comma comes next.
///
/// # Errors
/// When the prompt cannot be read or split, or needs more than 100 chunks, or `positions` has no place
/// for a token.
pub fn chunks(
    tokenizer: &Tokenizer,
    prompt: &str,
    positions: usize,
    least: usize,
    backtrack: usize,
) -> Result<Vec<Chunk>, ModelError> {
    let section = |pieces: Vec<Piece>| {
        let mut tokens = Vec::new();
        for piece in pieces {
            let found = tokenizer.tokens(&piece.text)?;
            tokens.extend(found.into_iter().map(|token| (token, piece.weight as f32)));
        }
        Ok(tokens)
    };
    let sections = sections(prompt)?.into_iter().map(section);
    cut(tokenizer, &sections.collect::<Result<Vec<_>, ModelError>>()?, positions, least, backtrack)
}

/// A caption, in exactly `count` chunks: plain text, whose brackets are no weights, and of which what
/// is longer is left out.
///
/// # Errors
/// As [`chunks`].
pub fn caption_chunks(
    tokenizer: &Tokenizer,
    caption: &str,
    positions: usize,
    count: usize,
) -> Result<Vec<Chunk>, ModelError> {
    let tokens: Vec<_> = tokenizer.tokens(caption)?.into_iter().map(|token| (token, 1.0)).collect();
    let mut chunks = cut(tokenizer, &[tokens], positions, count, 0)?;
    chunks.truncate(count);
    Ok(chunks)
}

/// Sections in chunks. An empty section has one too, unless it is the last.
fn cut(
    tokenizer: &Tokenizer,
    sections: &[Vec<(usize, f32)>],
    positions: usize,
    least: usize,
    backtrack: usize,
) -> Result<Vec<Chunk>, ModelError> {
    let inner = positions.checked_sub(2).filter(|inner| *inner > 0).ok_or_else(|| {
        ModelError::input("prompt", format!("has no place in {positions} positions"))
    })?;
    let (last, others) = sections.split_last().map_or((&[][..], &[][..]), |(a, b)| (a, b));
    let full = others.iter().flat_map(|section| match &section[..] {
        [] => vec![&[][..]],
        section => pieces(tokenizer, section, inner, backtrack),
    });
    let parts: Vec<&[(usize, f32)]> =
        full.chain(pieces(tokenizer, last, inner, backtrack)).collect();
    if parts.len() > MOST {
        let tokens = inner * (parts.len() - 1) + parts[parts.len() - 1].len();
        let reason = format!("is {tokens} tokens long; {} at most", MOST * inner);
        return Err(ModelError::input("prompt", reason));
    }
    let mut chunks: Vec<Chunk> =
        parts.into_iter().map(|part| wrapped(tokenizer, part, positions)).collect();
    while chunks.len() < least.max(1) {
        chunks.push(wrapped(tokenizer, &[], positions));
    }
    Ok(chunks)
}

/// A section in parts of as many tokens at most, none of which ends within a learnt token.
fn pieces<'a>(
    tokenizer: &Tokenizer,
    mut section: &'a [(usize, f32)],
    inner: usize,
    backtrack: usize,
) -> Vec<&'a [(usize, f32)]> {
    let comma = tokenizer.comma();
    let is_comma = |(token, _): &(usize, f32)| Some(*token) == comma;
    let mut parts = Vec::new();
    while !section.is_empty() {
        let may_end = |&end: &usize| section.get(end).is_none_or(|it| !tokenizer.goes_on(it.0));
        let most = inner.min(section.len());
        let mut end = (1..=most).rev().find(may_end).unwrap_or(most);
        let is_full = end == inner;
        if is_full && section.get(end).is_some_and(|next| !is_comma(next)) {
            let last = section[..end].iter().rposition(is_comma);
            end = last.filter(|at| end - at <= backtrack).map_or(end, |at| at + 1);
        }
        let (part, rest) = section.split_at(end);
        parts.push(part);
        section = rest;
    }
    parts
}

fn wrapped(tokenizer: &Tokenizer, part: &[(usize, f32)], positions: usize) -> Chunk {
    let mut all = vec![(tokenizer.begin(), 1.0)];
    all.extend(part);
    all.push((tokenizer.end(), 1.0));
    all.resize(positions, (tokenizer.pad(), 1.0));
    let (tokens, weights) = all.into_iter().unzip();
    Chunk { tokens, weights }
}
