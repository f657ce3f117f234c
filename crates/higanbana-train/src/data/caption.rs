//! From the caption of a file to the text of a sample, in kohya's order: prefix and suffix; nothing at all,
//! now and then; choices; tags shuffled and dropped.

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
    /// Whether `{a|b}` is one of several, and one line of several is taken. If not, the first line is the
    /// caption.
    pub wildcards: bool,
    /// Whether tags, what stands between commas, are shuffled.
    pub shuffle: bool,
    /// Number of tags at the beginning that stay where they are.
    pub keep_tokens: usize,
    /// Where it stands, what is before stays where it is, instead of a number of tags.
    pub keep_separator: Option<String>,
    /// Probability with which a tag that may move is left out.
    pub tag_dropout: f64,
}

impl Captions {
    /// The text of a sample, which is one of a run by its number.
    pub fn text(&self, caption: &str, seed: u64, sample: u64) -> String {
        let mut rng = stream(seed, "caption", sample);
        if self.dropout > 0.0 && rng.random_bool(self.dropout) {
            return String::new();
        }
        let parts = [&self.prefix, caption, &self.suffix].into_iter().filter(|it| !it.is_empty());
        let text = parts.collect::<Vec<&str>>().join(" ");
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let line = match lines.len() {
            0 => return String::new(),
            count if self.wildcards => lines[rng.random_range(0..count)],
            _ => lines[0],
        };
        let mut text = line.trim().to_string();
        if self.wildcards {
            text = chosen(&text, &mut |count| rng.random_range(0..count));
        }
        if !self.shuffle && self.tag_dropout == 0.0 && self.keep_separator.is_none() {
            return text;
        }
        let (mut fixed, mut free) = self.parted(&text);
        if self.shuffle {
            free.shuffle(&mut rng);
        }
        free.retain(|_| self.tag_dropout == 0.0 || !rng.random_bool(self.tag_dropout));
        fixed.extend(free);
        fixed.join(", ")
    }

    /// Whether a caption has one text, besides none.
    pub fn is_fixed(&self) -> bool {
        !self.wildcards && !self.shuffle && self.tag_dropout == 0.0
    }

    /// The first probability that is none, by name.
    pub(crate) fn wrong(&self) -> Option<(&'static str, f64)> {
        let wrong = |(_, p): &(_, f64)| !(0.0..=1.0).contains(p);
        [("dropout", self.dropout), ("tag_dropout", self.tag_dropout)].into_iter().find(wrong)
    }

    /// The tags that stay, and those that may move.
    fn parted<'a>(&self, text: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
        let separator = self.keep_separator.as_deref().filter(|it| !it.is_empty());
        if let Some((fixed, free)) = separator.and_then(|it| text.split_once(it)) {
            return (tags(fixed), tags(free));
        }
        let mut fixed = tags(text);
        let free = fixed.split_off(self.keep_tokens.min(fixed.len()));
        (fixed, free)
    }
}

fn tags(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

/// Every `{a|b}` replaced by one of its parts, the inner ones first. `choose` is told how many there are.
fn chosen(text: &str, choose: &mut dyn FnMut(usize) -> usize) -> String {
    let mut text = text.to_string();
    while let Some(close) = text.find('}') {
        let Some(open) = text[..close].rfind('{') else { break };
        let parts: Vec<&str> = text[open + 1..close].split('|').collect();
        let part = parts[choose(parts.len())].to_string();
        text.replace_range(open..=close, &part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(captions: &Captions, caption: &str) -> Vec<String> {
        (0..400).map(|sample| captions.text(caption, 5, sample)).collect()
    }

    #[test]
    fn a_caption_is_its_first_line_between_prefix_and_suffix() {
        let captions = Captions { prefix: "photo of".into(), ..Captions::default() };
        assert_eq!(captions.text("a lily\nanother", 0, 0), "photo of a lily");
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
        assert_eq!(chosen("a {red|{wet|dry}} lily", &mut |count| count - 1), "a dry lily");
        assert_eq!(chosen("a {red|{wet|dry}} lily", &mut |_| 0), "a red lily");
        assert_eq!(chosen("a } lily {", &mut |_| 0), "a } lily {");
        let captions = Captions { wildcards: true, ..Captions::default() };
        let mut found = texts(&captions, "{a|b}\nc");
        found.sort();
        found.dedup();
        assert_eq!(found, ["a", "b", "c"]);
        assert!(!captions.is_fixed());
    }
}
