//! Weights in prompts, as the web UIs write them.
//!
//! ```text
//! (a word)        1.1 times as strong, ((a word)) 1.21 times
//! (a word:1.3)    1.3 times
//! [a word]        1/1.1 times
//! \( \) \[ \]     the characters themselves
//! ```

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

/// The parts of a prompt. A bracket that is not closed reaches to the end; one that was not opened is
/// text.
pub fn pieces(prompt: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece { text: String::new(), weight: 1.0 }];
    // For each open bracket the piece that it begins with, round and square.
    let mut open: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
    let mut rest = prompt;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '\\' => match rest[1..].chars().next().filter(|c| "()[]\\".contains(*c)) {
                Some(escaped) => {
                    length += 1;
                    push(&mut pieces, escaped);
                }
                None => push(&mut pieces, character),
            },
            '(' | '[' => {
                pieces.push(Piece { text: String::new(), weight: 1.0 });
                open[usize::from(character == '[')].push(pieces.len() - 1);
            }
            ':' if !open[0].is_empty() && weight(rest).is_some() => {
                let (factor, taken) = weight(rest).expect("just seen");
                length = taken;
                close(&mut pieces, open[0].pop(), factor);
            }
            ')' if !open[0].is_empty() => close(&mut pieces, open[0].pop(), ROUND),
            ']' if !open[1].is_empty() => close(&mut pieces, open[1].pop(), SQUARE),
            character => push(&mut pieces, character),
        }
        rest = &rest[length..];
    }
    for (brackets, factor) in open.into_iter().zip([ROUND, SQUARE]) {
        brackets.into_iter().for_each(|from| multiply(&mut pieces[from..], factor));
    }
    joined(pieces)
}

fn push(pieces: &mut [Piece], character: char) {
    pieces.last_mut().expect("there is always one").text.push(character);
}

fn close(pieces: &mut Vec<Piece>, from: Option<usize>, factor: f64) {
    multiply(&mut pieces[from.expect("it is open")..], factor);
    pieces.push(Piece { text: String::new(), weight: 1.0 });
}

fn multiply(pieces: &mut [Piece], factor: f64) {
    pieces.iter_mut().for_each(|piece| piece.weight *= factor);
}

/// The number in `:1.3)` and the length of all of it.
fn weight(rest: &str) -> Option<(f64, usize)> {
    let end = rest.find(')')?;
    let number: f64 = rest[1..end].trim().parse().ok()?;
    number.is_finite().then_some((number, end + 1))
}

/// Without empty pieces, and with neighbours of one weight together.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces.into_iter().filter(|piece| !piece.text.is_empty()) {
        match joined.last_mut() {
            Some(last) if last.weight == piece.weight => last.text.push_str(&piece.text),
            _ => joined.push(piece),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prompt: &str) -> Vec<(String, f64)> {
        let rounded = |weight: f64| (weight * 1e6).round() / 1e6;
        pieces(prompt).into_iter().map(|piece| (piece.text, rounded(piece.weight))).collect()
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
        assert_eq!(of(r"a \(cat\) \x"), [(s(r"a (cat) \x"), 1.0)]);
        assert_eq!(of("a) b]"), [(s("a) b]"), 1.0)]);
        assert_eq!(of("time: 12:30"), [(s("time: 12:30"), 1.0)]);
        assert_eq!(of("(a:b)"), [(s("a:b"), 1.1)]);
        assert_eq!(of("a (b"), [(s("a "), 1.0), (s("b"), 1.1)]);
        assert_eq!(of("(ä:1.5)ö"), [(s("ä"), 1.5), (s("ö"), 1.0)]);
    }
}
