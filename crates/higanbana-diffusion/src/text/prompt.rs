//! A prompt as the web UI reads it: what holds at which step, and what is joined by `AND`.

use std::sync::LazyLock;

use regex::Regex;

use super::edits::stages;
use crate::ModelError;

/// What an image shows, or does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The parts that `AND` joins; a model is asked for each.
    pub parts: Vec<Part>,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// How much it counts.
    pub weight: f64,
    /// Its texts, in their order.
    pub stages: Vec<Stage>,
}

/// A text that is shown to a model for some steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The last step at which it holds.
    pub until: usize,
    /// The text; brackets are weights.
    pub text: String,
}

impl Prompt {
    /// Reads what an image shows, over so many steps.
    ///
    /// A part may end in its weight where there are several, `a cat :1.2 AND a dog`.
    ///
    /// # Errors
    /// When it asks for something that is not built, or `AND` stands in brackets.
    pub fn positive(text: &str, steps: usize) -> Result<Self, ModelError> {
        const NAME: &str = "prompt";
        no_networks(NAME, text)?;
        let mut texts = Vec::new();
        let mut rest = 0;
        for and in AND.find_iter(text) {
            if is_in_brackets(&text[rest..and.start()]) {
                let reason = "has AND in brackets; it joins whole prompts, close them before it";
                return Err(ModelError::input(NAME, reason));
            }
            texts.push(&text[rest..and.start()]);
            rest = and.end();
        }
        texts.push(&text[rest..]);
        let part = |text: &&str| {
            let (text, weight) = if texts.len() > 1 { weighted(text) } else { (*text, 1.0) };
            Ok(Part { weight, stages: stages(NAME, text, steps)? })
        };
        Ok(Self { parts: texts.iter().map(part).collect::<Result<_, ModelError>>()? })
    }

    /// Reads what an image does not show.
    ///
    /// # Errors
    /// As [`Self::positive`]; it has one part.
    pub fn negative(text: &str, steps: usize) -> Result<Self, ModelError> {
        const NAME: &str = "negative prompt";
        no_networks(NAME, text)?;
        if AND.is_match(text) {
            return Err(ModelError::input(NAME, "has AND, which joins parts of the prompt only"));
        }
        Ok(Self { parts: vec![Part { weight: 1.0, stages: stages(NAME, text, steps)? }] })
    }
}

impl Part {
    /// The index of the stage that holds when a model is asked for the `call`-th time, from 0.
    ///
    /// The web UI counts its stages from 1 and its calls from 0: the first stage has a call more than
    /// its number says.
    pub fn stage(&self, call: usize) -> usize {
        self.stages.iter().position(|stage| call <= stage.until).unwrap_or(0)
    }
}

static AND: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bAND\b").expect("it is one"));

/// A part without the weight that it may end in, and that.
fn weighted(text: &str) -> (&str, f64) {
    static WEIGHT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\s*:\s*([+-]?(?:\d+\.?|\d*\.\d+))\s*$").expect("it is one"));
    let found = WEIGHT.captures(text);
    let number = found.as_ref().and_then(|found| found[1].parse().ok());
    match (found, number) {
        (Some(found), Some(number)) => (&text[..text.len() - found[0].len()], number),
        _ => (text.trim_end(), 1.0),
    }
}

/// Whether a bracket that a text opens is open at its end.
fn is_in_brackets(text: &str) -> bool {
    let (mut open, mut escaped) = (0usize, false);
    for sign in text.chars() {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' | '[' => open += 1,
            ')' | ']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    open > 0
}

/// Refuses `<name:...>`, which a model would read as words.
fn no_networks(name: &str, text: &str) -> Result<(), ModelError> {
    static NETWORK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"<\w+:[^>]+>").expect("it is one"));
    match NETWORK.find(text) {
        None => Ok(()),
        Some(network) => {
            let reason = format!("has {}, which is not read here", network.as_str());
            Err(ModelError::input(name, reason))
        }
    }
}
