//! Tokens that were learnt besides those of the vocabulary.

use std::{cmp::Reverse, ops::Range};

/// Learnt tokens, and the numbers that stand for each: one for each of its vectors.
#[derive(Debug, Default)]
pub(super) struct Learnt(Vec<(String, Range<usize>)>);

impl Learnt {
    pub fn add(&mut self, token: &str, numbers: Range<usize>) {
        self.0.push((token.into(), numbers));
        // Of two that begin alike the longer one is meant.
        self.0.sort_by_key(|(token, _)| Reverse(token.len()));
    }

    /// The longest ones first.
    pub fn all(&self) -> &[(String, Range<usize>)] {
        &self.0
    }

    pub fn numbers(&self, token: &str) -> Option<&Range<usize>> {
        let is_it = |known: &str| length_at(token, 0, known) == Some(token.len());
        self.0.iter().find(|(known, _)| is_it(known)).map(|(_, numbers)| numbers)
    }

    /// A text, cut behind every learnt token: what is before it, and its numbers.
    pub fn parts<'a>(&'a self, text: &'a str) -> Vec<(&'a str, Option<&'a Range<usize>>)> {
        let mut parts = Vec::new();
        let [mut from, mut at] = [0; 2];
        while let Some(next) = text[at..].chars().next() {
            let length =
                |(token, numbers): &'a (String, _)| Some((length_at(text, at, token)?, numbers));
            match self.0.iter().find_map(length) {
                Some((length, numbers)) => {
                    parts.push((&text[from..at], Some(numbers)));
                    at += length;
                    from = at;
                }
                None => at += next.len_utf8(),
            }
        }
        parts.push((&text[from..], None));
        parts
    }
}

/// Bytes of a token that a text has there, in small letters or large ones, and not as a part of a word.
fn length_at(text: &str, at: usize, token: &str) -> Option<usize> {
    let (before, mut rest) = (text[..at].chars().next_back(), text[at..].chars());
    let same = |a: char, b: char| a.to_lowercase().eq(b.to_lowercase());
    let all = token.chars().all(|wanted| rest.next().is_some_and(|found| same(found, wanted)));
    let joins =
        |a: Option<char>, b: Option<char>| [a, b].into_iter().all(|c| c.is_some_and(is_of_word));
    let is_part = joins(before, token.chars().next())
        || joins(token.chars().next_back(), rest.clone().next());
    (all && !is_part).then(|| text.len() - at - rest.as_str().len())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt() -> Learnt {
        let mut learnt = Learnt::default();
        for (token, numbers) in
            [("<s1>", 10..12), ("lily", 12..13), ("<s1>-<s2>", 13..14), ("İx", 14..15)]
        {
            learnt.add(token, numbers);
        }
        learnt
    }

    /// Parts of a text and the first number behind each.
    fn parts(text: &str) -> Vec<(String, Option<usize>)> {
        let of = |(text, numbers): (&str, Option<&Range<usize>>)| {
            (text.into(), numbers.map(|it| it.start))
        };
        learnt().parts(text).into_iter().map(of).collect()
    }

    #[test]
    fn tokens_are_found_in_any_case_and_not_inside_of_words() {
        let s = String::from;
        assert_eq!(parts(""), [(s(""), None)]);
        assert_eq!(parts("a red ß"), [(s("a red ß"), None)]);
        assert_eq!(parts("a Lily, red"), [(s("a "), Some(12)), (s(", red"), None)]);
        assert_eq!(
            parts("lilypad waterlily lily_ 2lily"),
            [(s("lilypad waterlily lily_ 2lily"), None)]
        );
        assert_eq!(parts("of<S1>x"), [(s("of"), Some(10)), (s("x"), None)]);
        assert_eq!(parts("<s1>-<s2><s1>"), [(s(""), Some(13)), (s(""), Some(10)), (s(""), None)]);
        assert_eq!(parts("äİx"), [(s("äİx"), None)]);
        assert_eq!(parts("ä İX"), [(s("ä "), Some(14)), (s(""), None)]);
    }

    #[test]
    fn a_token_has_its_numbers() {
        assert_eq!(learnt().numbers("LILY"), Some(&(12..13)));
        assert_eq!(learnt().numbers("lil"), None);
        assert_eq!(learnt().numbers("lily-"), None);
    }
}
