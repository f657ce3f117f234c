//! Weights in prompts, and breaks between their parts, as the web UIs write them.
//!
//! ```text
//! (a word)        1.1 times as strong, ((a word)) 1.21 times
//! (a word:1.3)    1.3 times
//! [a word]        1/1.1 times
//! \( \) \[ \] \\  the characters themselves; a backslash before another one is dropped
//! BREAK           what follows begins in the next chunk of the encoder
//! ```

use crate::ModelError;

/// A part of a prompt and its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text, without brackets.
    pub text: String,
    /// How strong it is.
    pub weight: f64,
}

const ROUND: f64 = 1.1;
const SQUARE: f64 = 1.0 / 1.1;
const BREAK: &str = "BREAK";

/// The pieces of a prompt, in sections that a `BREAK` divides; one section at least. A bracket that is
/// not closed reaches to the end; one that was not opened is text.
///
/// # Errors
/// When a weight is no number, or a `BREAK` stands in brackets, where the web UI reads it as a word.
pub fn sections(prompt: &str) -> Result<Vec<Vec<Piece>>, ModelError> {
    let mut sections = vec![Section::default()];
    let mut before = None;
    let mut rest = prompt;
    while let Some(character) = rest.chars().next() {
        let section = sections.last_mut().expect("there is always one");
        let mut length = character.len_utf8();
        match character {
            '\\' => {
                if let Some(escaped) = rest[1..].chars().next().filter(|c| "()[]\\".contains(*c)) {
                    length += 1;
                    section.push(escaped);
                }
            }
            '(' | '[' => section.open(usize::from(character == '[')),
            ':' if section.is_open(0) && number(rest).is_some() => {
                let (text, taken) = number(rest).expect("just seen");
                let factor =
                    text.parse().map_err(|_| wrong(format!("weight {text} is no number")))?;
                length = taken;
                section.close(0, factor);
            }
            ')' if section.is_open(0) => section.close(0, ROUND),
            ']' if section.is_open(1) => section.close(1, SQUARE),
            'B' if is_break(before, rest) => {
                if section.is_open(0) || section.is_open(1) {
                    return Err(wrong("BREAK stands in brackets; close them before it".into()));
                }
                let after = &rest[BREAK.len()..];
                length = rest.len() - after.trim_start().len();
                section.trim_end();
                sections.push(Section::default());
            }
            character => section.push(character),
        }
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    Ok(sections.into_iter().map(Section::pieces).collect())
}

/// Pieces while they are read.
struct Section {
    pieces: Vec<Piece>,
    /// For each open bracket the piece that it begins with, round and square.
    open: [Vec<usize>; 2],
}

impl Default for Section {
    fn default() -> Self {
        Self { pieces: vec![empty()], open: Default::default() }
    }
}

impl Section {
    fn push(&mut self, character: char) {
        self.pieces.last_mut().expect("there is always one").text.push(character);
    }

    fn trim_end(&mut self) {
        let text = &mut self.pieces.last_mut().expect("there is always one").text;
        text.truncate(text.trim_end().len());
    }

    fn open(&mut self, bracket: usize) {
        self.pieces.push(empty());
        self.open[bracket].push(self.pieces.len() - 1);
    }

    fn is_open(&self, bracket: usize) -> bool {
        !self.open[bracket].is_empty()
    }

    fn close(&mut self, bracket: usize, factor: f64) {
        let from = self.open[bracket].pop().expect("it is open");
        self.multiply(from, factor);
        self.pieces.push(empty());
    }

    fn multiply(&mut self, from: usize, factor: f64) {
        self.pieces[from..].iter_mut().for_each(|piece| piece.weight *= factor);
    }

    /// Without empty pieces, and with neighbours of one weight together.
    fn pieces(mut self) -> Vec<Piece> {
        for (brackets, factor) in std::mem::take(&mut self.open).into_iter().zip([ROUND, SQUARE]) {
            brackets.into_iter().for_each(|from| self.multiply(from, factor));
        }
        let mut joined: Vec<Piece> = Vec::new();
        for piece in self.pieces.into_iter().filter(|piece| !piece.text.is_empty()) {
            match joined.last_mut() {
                Some(last) if last.weight == piece.weight => last.text.push_str(&piece.text),
                _ => joined.push(piece),
            }
        }
        joined
    }
}

fn empty() -> Piece {
    Piece { text: String::new(), weight: 1.0 }
}

/// What stands for a number in `:1.3)`, and the length of all of it. An exponent makes it text.
fn number(rest: &str) -> Option<(&str, usize)> {
    let end = rest.find(')')?;
    let text = rest[1..end].trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = !digits.is_empty() && digits.chars().all(|c| c == '.' || c.is_ascii_digit());
    fits.then_some((text, end + 1))
}

/// Whether the word `BREAK` stands here.
fn is_break(before: Option<char>, rest: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let after = rest.strip_prefix(BREAK).map(|after| after.chars().next());
    after.is_some_and(|after| ![before, after].into_iter().flatten().any(in_word))
}

fn wrong(reason: String) -> ModelError {
    ModelError::input("prompt", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and weight of each piece, the weight in millionths.
    fn of(prompt: &str) -> Vec<(String, f64)> {
        let rounded = |weight: f64| (weight * 1e6).round() / 1e6;
        let pieces = sections(prompt).unwrap().concat().into_iter();
        pieces.map(|piece| (piece.text, rounded(piece.weight))).collect()
    }

    #[test]
    fn brackets_and_numbers() {
        let s = String::from;
        assert_eq!(of("a cat"), [(s("a cat"), 1.0)]);
        assert_eq!(of("a (cat)"), [(s("a "), 1.0), (s("cat"), 1.1)]);
        assert_eq!(of("((cat))"), [(s("cat"), 1.21)]);
        assert_eq!(of("(cat:1.3) x"), [(s("cat"), 1.3), (s(" x"), 1.0)]);
        assert_eq!(of("[cat]"), [(s("cat"), 0.909091)]);
        assert_eq!(of("(a (b:2) c:0.5)"), [(s("a "), 0.5), (s("b"), 1.0), (s(" c"), 0.5)]);
        assert_eq!(of("(a [b])"), [(s("a "), 1.1), (s("b"), 1.0)]);
        assert_eq!(of(""), []);
    }

    #[test]
    fn what_is_no_weight_is_text() {
        let s = String::from;
        assert_eq!(of(r"a \(cat\) \x \"), [(s("a (cat) x "), 1.0)]);
        assert_eq!(of("a) b]"), [(s("a) b]"), 1.0)]);
        assert_eq!(of("time: 12:30"), [(s("time: 12:30"), 1.0)]);
        assert_eq!(of("(a:b)"), [(s("a:b"), 1.1)]);
        assert_eq!(of("(a:1e1)"), [(s("a:1e1"), 1.1)]);
        assert_eq!(of("(a:inf)"), [(s("a:inf"), 1.1)]);
        assert_eq!(of("a (b"), [(s("a "), 1.0), (s("b"), 1.1)]);
        assert_eq!(of("(ä:1.5)ö"), [(s("ä"), 1.5), (s("ö"), 1.0)]);
    }

    #[test]
    fn a_break_is_a_word_outside_brackets() {
        let texts = |prompt| -> Vec<String> {
            let sections = sections(prompt).unwrap().into_iter();
            sections.map(|pieces| pieces.into_iter().map(|piece| piece.text).collect()).collect()
        };
        assert_eq!(texts("a BREAK b"), ["a", "b"]);
        assert_eq!(texts("a\nBREAK\nBREAK (b)"), ["a", "", "b"]);
        assert_eq!(texts("BREAKfast, no_BREAK, break"), ["BREAKfast, no_BREAK, break"]);
        for prompt in ["(a BREAK b:1.2)", "[a BREAK", "(BREAK"] {
            let error = sections(prompt).unwrap_err().to_string();
            assert_eq!(error, "prompt: BREAK stands in brackets; close them before it");
        }
        for weight in [".", "1.2.3"] {
            let error = sections(&format!("(a:{weight})")).unwrap_err().to_string();
            assert_eq!(error, format!("prompt: weight {weight} is no number"));
        }
    }
}
