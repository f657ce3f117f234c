//! From the caption of a file to the text of a sample, in kohya's order: nothing at all, now and then; one
//! line; prefix and suffix; choices; tags shuffled and dropped.

use rand::{RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use crate::random::stream;

/// How captions become texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Captions {
    /// Stands before the caption, and a space.
    pub prefix: String,
    /// Stands after the caption, and a space.
    pub suffix: String,
    /// Probability with which there is no text.
    pub dropout: f64,
    /// Whether `{a|b}` is one of several, and one line of several is taken. If not, the caption is the first
    /// line of a text file that is not empty (the others are counted, and said to be dropped), or the
    /// whole text of a line of `metadata.jsonl`.
    pub wildcards: bool,
    /// Whether tags, what stands between commas, are shuffled.
    pub shuffle: bool,
    /// Number of tags at the beginning that stay where they are.
    pub keep_tokens: usize,
    /// Where it stands, what is before stays where it is, instead of a number of tags; where it stands
    /// again, what is behind stays at the end.
    pub keep_separator: Option<String>,
    /// Probability with which a tag that may move is left out.
    pub tag_dropout: f64,
}

impl Captions {
    /// The text of a sample, which is one of a run by its number.
    pub fn text(&self, caption: &str, seed: u64, sample: u64) -> String {
        self.drawn(caption, seed, sample).unwrap_or_default()
    }

    /// The same, or nothing where there is to be none.
    pub fn drawn(&self, caption: &str, seed: u64, sample: u64) -> Option<String> {
        let mut rng = stream(seed, "caption", sample);
        if self.dropout > 0.0 && rng.random_bool(self.dropout) {
            return None;
        }
        let lines = self.lines(caption);
        let line = if self.wildcards { rng.random_range(0..lines.len()) } else { 0 };
        let mut text = self.around(lines[line]);
        while self.wildcards
            && let Some(choice) = Choice::first(&text)
        {
            text = choice.taken(rng.random_range(0..choice.parts.len()));
        }
        if !self.shuffle && self.tag_dropout == 0.0 && self.keep_separator.is_none() {
            return Some(text);
        }
        let [mut first, mut free, last] = self.parted(&text);
        if self.shuffle {
            free.shuffle(&mut rng);
        }
        free.retain(|_| self.tag_dropout == 0.0 || !rng.random_bool(self.tag_dropout));
        first.extend(free);
        first.extend(last);
        Some(first.join(", "))
    }

    /// The texts that a caption may become, in the order of its lines and choices, but for what is dropped
    /// and shuffled: 1000 of them at most.
    pub fn texts(&self, caption: &str) -> Vec<String> {
        const MOST: usize = 1000;
        let mut open: Vec<String> = self.lines(caption).iter().map(|it| self.around(it)).collect();
        open.reverse();
        let mut texts = Vec::new();
        while let Some(text) = open.pop().filter(|_| texts.len() < MOST) {
            match Choice::first(&text).filter(|_| self.wildcards) {
                Some(choice) => open.extend((0..choice.parts.len()).rev().map(|i| choice.taken(i))),
                None if self.keep_separator.is_none() => texts.push(text),
                None => texts.push(self.parted(&text).concat().join(", ")),
            }
        }
        texts
    }

    /// The caption where nothing is drawn and nothing added: its first line, if one of several is taken.
    pub fn plain<'a>(&self, caption: &'a str) -> &'a str {
        self.lines(caption)[0]
    }

    /// What one is taken of; there is one at least.
    fn lines<'a>(&self, caption: &'a str) -> Vec<&'a str> {
        let lines: Vec<&str> = lines(caption).collect();
        if self.wildcards && !lines.is_empty() { lines } else { vec![caption] }
    }

    /// A line between prefix and suffix.
    fn around(&self, line: &str) -> String {
        let parts = [&self.prefix, line, &self.suffix].into_iter().filter(|it| !it.is_empty());
        parts.collect::<Vec<&str>>().join(" ")
    }

    /// Whether a caption has one text, besides none.
    pub fn is_fixed(&self) -> bool {
        !self.wildcards && !self.shuffle && self.tag_dropout == 0.0
    }

    /// The tags that stay at the beginning, those that may move, and those that stay at the end.
    fn parted<'a>(&self, text: &'a str) -> [Vec<&'a str>; 3] {
        let separator = self.keep_separator.as_deref();
        if let Some(separator) = separator.filter(|it| !it.is_empty() && text.contains(*it)) {
            let mut parts = text.splitn(3, separator).map(tags);
            return [(); 3].map(|()| parts.next().unwrap_or_default());
        }
        let mut first = tags(text);
        let free = first.split_off(self.keep_tokens.min(first.len()));
        [first, free, Vec::new()]
    }
}

/// The lines of a text that are not empty.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// What stands between the commas of a text.
pub fn tags(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

/// A choice `{a|b}`, which holds no other.
struct Choice<'a> {
    before: &'a str,
    parts: Vec<&'a str>,
    after: &'a str,
}

impl<'a> Choice<'a> {
    /// The one that ends first.
    fn first(text: &'a str) -> Option<Self> {
        let (before, after) = text.split_once('}')?;
        let (before, parts) = before.rsplit_once('{')?;
        Some(Self { before, parts: parts.split('|').collect(), after })
    }

    /// The text with one of the parts.
    fn taken(&self, part: usize) -> String {
        [self.before, self.parts[part], self.after].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(captions: &Captions, caption: &str) -> Vec<String> {
        (0..400).map(|sample| captions.text(caption, 5, sample)).collect()
    }

    #[test]
    fn a_caption_stands_between_prefix_and_suffix() {
        let captions = Captions { prefix: "photo of".into(), ..Captions::default() };
        assert_eq!(captions.text("a lily\nin rain", 0, 0), "photo of a lily\nin rain");
        let captions = Captions { suffix: "in rain".into(), ..Captions::default() };
        assert_eq!(captions.text("a lily", 0, 0), "a lily in rain");
        assert_eq!(Captions::default().text("", 0, 0), "");
    }

    #[test]
    fn as_many_are_dropped_as_asked() {
        let captions = Captions { dropout: 0.25, ..Captions::default() };
        let empty = texts(&captions, "a lily").iter().filter(|text| text.is_empty()).count();
        // Four standard deviations of 400 draws.
        assert!((empty as f64 - 100.0).abs() < 4.0 * (400.0 * 0.25 * 0.75f64).sqrt(), "{empty}");
    }

    #[test]
    fn tags_are_shuffled_behind_those_that_are_kept() {
        let captions = Captions { shuffle: true, keep_tokens: 1, ..Captions::default() };
        let texts = texts(&captions, "lily, red,  wet , tall");
        assert!(texts.iter().all(|text| text.starts_with("lily, ")));
        let mut different = texts.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 6, "all orders of three");
        assert!(different.contains(&"lily, red, wet, tall".to_string()));

        let separator = Some("|||".to_string());
        let captions = Captions { shuffle: true, keep_separator: separator, ..Captions::default() };
        let text = captions.text("a, b ||| c, d", 0, 0);
        assert!(text == "a, b, c, d" || text == "a, b, d, c", "{text}");
        let text = captions.text("a ||| b, c ||| d, e", 0, 0);
        assert!(text == "a, b, c, d, e" || text == "a, c, b, d, e", "{text}");
    }

    #[test]
    fn tags_are_dropped_one_by_one() {
        let captions = Captions { tag_dropout: 0.5, keep_tokens: 1, ..Captions::default() };
        let texts = texts(&captions, "lily, red, wet");
        for expected in ["lily", "lily, red", "lily, wet", "lily, red, wet"] {
            let count = texts.iter().filter(|text| *text == expected).count();
            assert!((count as f64 - 100.0).abs() < 4.0 * 75f64.sqrt(), "{expected}: {count}");
        }
    }

    #[test]
    fn choices_may_lie_in_choices() {
        let captions = Captions { wildcards: true, ..Captions::default() };
        let mut found = texts(&captions, "{a|b}\nc");
        found.sort();
        found.dedup();
        assert_eq!(found, ["a", "b", "c"]);
        assert!(!captions.is_fixed());
        let captions = Captions { prefix: "x".into(), suffix: "y".into(), ..captions };
        assert!(texts(&captions, "a\nb").iter().all(|it| it == "x a y" || it == "x b y"));
    }

    #[test]
    fn every_text_of_a_caption_is_known_before() {
        let captions = Captions { wildcards: true, ..Captions::default() };
        let texts = captions.texts("a {red|{wet|dry}} lily\n\nb");
        assert_eq!(texts, ["a red lily", "a wet lily", "a red lily", "a dry lily", "b"]);
        assert_eq!(captions.texts("a } lily {"), ["a } lily {"]);
        assert_eq!(captions.texts(&"{a|b}".repeat(40)).len(), 1000);
        assert_eq!(captions.plain("a {b|c}\nd"), "a {b|c}");

        let separator = Some("|||".to_string());
        let captions = Captions {
            shuffle: true,
            tag_dropout: 0.5,
            keep_separator: separator,
            ..Captions::default()
        };
        assert_eq!(captions.texts("b ||| a, {c|d}"), ["b, a, {c|d}"]);
        assert_eq!(captions.plain("a\nb"), "a\nb");
    }
}
