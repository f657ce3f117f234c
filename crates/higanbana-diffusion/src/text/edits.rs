//! Prompts that change from step to step, as the web UI reads them.
//!
//! ```text
//! [a:b:0.5]   a, and b after that share of the steps; [a:b:10] after that many
//! [b:0.5]     b after that share;  [a::0.5]  a until then
//! [a|b|c]     another one at every step
//! ```
//!
//! Each text may itself change. Brackets of another form are [emphasis](super::sections), or text.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use super::Stage;
use crate::ModelError;

/// A part of a prompt.
#[derive(Debug)]
enum Part {
    Text(String),
    /// One text until a step, then the other.
    Switch {
        before: Vec<Part>,
        after: Vec<Part>,
        when: When,
    },
    /// One text after the other.
    Turns(Vec<Vec<Part>>),
}

/// When a text is replaced.
#[derive(Debug, Clone, Copy)]
enum When {
    /// After this share of the steps.
    Share(f64),
    /// After this many.
    Steps(f64),
}

impl When {
    /// The last step before it, of those that are counted from 1.
    fn last(self, steps: usize) -> i64 {
        let last = match self {
            Self::Share(share) => share * steps as f64,
            Self::Steps(number) => number,
        };
        (last as i64).min(steps as i64)
    }
}

/// The texts of a prompt and the steps up to which each holds, of as many. The last holds to the end.
///
/// # Errors
/// When brackets are nested too deep, or a sign keeps the web UI from reading what changes in a prompt.
pub(super) fn stages(name: &str, prompt: &str, steps: usize) -> Result<Vec<Stage>, ModelError> {
    let mut reader = Reader { text: prompt, depth: 0, too_deep: false };
    let Whole { parts, stray } = reader.whole();
    if reader.too_deep {
        let reason = format!("has brackets that are nested more than {DEEPEST} deep");
        return Err(ModelError::input(name, reason));
    }
    let changes = parts.iter().any(|part| !matches!(part, Part::Text(_)));
    if let Some(Stray { sign, .. }) = stray.filter(|stray| changes || stray.in_brackets) {
        let reason = format!(
            "has a stray {sign}, with which the web UI changes nothing from step to step; write [a|b] \
             without numbers, or \\{sign} for the sign itself"
        );
        return Err(ModelError::input(name, reason));
    }
    let mut ends = BTreeSet::from([steps]);
    add_ends(&parts, steps, &mut ends);
    Ok(ends.into_iter().map(|until| Stage { until, text: text(&parts, until, steps) }).collect())
}

/// The steps after which a text changes.
fn add_ends(parts: &[Part], steps: usize, ends: &mut BTreeSet<usize>) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Switch { before, after, when } => {
                ends.extend(usize::try_from(when.last(steps)).ok().filter(|last| *last > 0));
                [before, after].iter().for_each(|parts| add_ends(parts, steps, ends));
            }
            Part::Turns(texts) => {
                ends.extend(1..=steps);
                texts.iter().for_each(|parts| add_ends(parts, steps, ends));
            }
        }
    }
}

/// What is shown at a step, of as many that are counted from 1.
fn text(parts: &[Part], step: usize, steps: usize) -> String {
    let of = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Switch { before, after, when } => {
            let parts = if step as i64 <= when.last(steps) { before } else { after };
            text(parts, step, steps)
        }
        Part::Turns(texts) => text(&texts[(step - 1) % texts.len()], step, steps),
    };
    parts.iter().map(of).collect()
}

/// How deep brackets may be nested.
const DEEPEST: usize = 100;

/// A prompt as it is read.
struct Reader<'a> {
    text: &'a str,
    depth: usize,
    too_deep: bool,
}

/// A prompt as it was read.
struct Whole {
    parts: Vec<Part>,
    stray: Option<Stray>,
}

/// A sign that belongs to nothing.
struct Stray {
    sign: char,
    in_brackets: bool,
}

/// Parts, and where in the text they end.
type Read = (Vec<Part>, usize);

impl Reader<'_> {
    /// All of it. Brackets and colons that belong to nothing are text.
    fn whole(&mut self) -> Whole {
        let (mut parts, mut stray, mut open) = (Vec::new(), None, 0usize);
        let mut at = 0;
        loop {
            let (more, end) = self.parts(at);
            parts.extend(more);
            let Some(sign) = self.next(end) else { return Whole { parts, stray } };
            match sign {
                '[' => open += 1,
                ']' => open = open.saturating_sub(1),
                '|' | '\\' => stray = stray.or(Some(Stray { sign, in_brackets: open > 0 })),
                _ => {}
            }
            parts.push(Part::Text(sign.into()));
            at = end + sign.len_utf8();
        }
    }

    fn next(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// Parts without a bracket, colon or bar that belongs to none of them.
    fn parts(&mut self, mut at: usize) -> Read {
        let mut parts = Vec::new();
        while let Some(sign) = self.next(at) {
            let end = match sign {
                '(' | '[' => match self.bracket(at) {
                    Some((more, end)) => {
                        parts.extend(more);
                        at = end;
                        continue;
                    }
                    None => break,
                },
                '\\' => match self.next(at + 1) {
                    None | Some('\n') => break,
                    Some(escaped) => at + 1 + escaped.len_utf8(),
                },
                ')' | ']' | ':' | '|' => break,
                sign => at + sign.len_utf8(),
            };
            parts.push(Part::Text(self.text[at..end].into()));
            at = end;
        }
        (parts, at)
    }

    /// What is in brackets, if they are closed and of a form that is known.
    fn bracket(&mut self, at: usize) -> Option<Read> {
        if self.depth == DEEPEST {
            self.too_deep = true;
            return None;
        }
        self.depth += 1;
        let found = if self.next(at) == Some('(') { self.round(at) } else { self.square(at) };
        self.depth -= 1;
        found
    }

    /// `(a)` or `(a:b)`, which hold whatever changes in them.
    fn round(&mut self, at: usize) -> Option<Read> {
        let (mut parts, mut end) = self.parts(at + 1);
        parts.insert(0, Part::Text("(".into()));
        if self.next(end) == Some(':') {
            let (more, next) = self.parts(end + 1);
            parts.push(Part::Text(":".into()));
            parts.extend(more);
            end = next;
        }
        parts.push(Part::Text(")".into()));
        (self.next(end) == Some(')')).then_some((parts, end + 1))
    }

    /// `[a]`, `[a:b:when]`, `[a:when]` or `[a|b]`.
    fn square(&mut self, at: usize) -> Option<Read> {
        let (first, end) = self.parts(at + 1);
        match self.next(end)? {
            ']' => {
                let (open, close) = (Part::Text("[".into()), Part::Text("]".into()));
                Some(([vec![open], first, vec![close]].into_iter().flatten().collect(), end + 1))
            }
            '|' => {
                let (mut texts, mut end) = (vec![first], end);
                while self.next(end) == Some('|') {
                    let (text, next) = self.parts(end + 1);
                    texts.push(text);
                    end = next;
                }
                (self.next(end) == Some(']')).then(|| (vec![Part::Turns(texts)], end + 1))
            }
            ':' => {
                let (before, after, (when, end)) = match self.when(end) {
                    Some(found) => (Vec::new(), first, found),
                    None => {
                        let (second, end) = self.parts(end + 1);
                        (first, second, self.when(end)?)
                    }
                };
                Some((vec![Part::Switch { before, after, when }], end))
            }
            _ => None,
        }
    }

    /// The number in `:0.5]`, and where the bracket ends.
    fn when(&self, at: usize) -> Option<(When, usize)> {
        static WHEN: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^:\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]").expect("it is one")
        });
        let found = WHEN.captures(&self.text[at..])?;
        let number = found[1].parse().ok()?;
        let when = if found[1].contains('.') { When::Share(number) } else { When::Steps(number) };
        Some((when, at + found[0].len()))
    }
}
