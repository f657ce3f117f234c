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
    /// Whether `{a|b}` is one of several, and one line of several is taken. If not, the first line is the
    /// caption.
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
        let mut rng = stream(seed, "caption", sample);
        if self.dropout > 0.0 && rng.random_bool(self.dropout) {
            return String::new();
        }
        let lines: Vec<&str> = caption.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        let line = match lines.len() {
            0 => "",
            count if self.wildcards => lines[rng.random_range(0..count)],
            _ => lines[0],
        };
        let parts = [&self.prefix, line, &self.suffix].into_iter().filter(|it| !it.is_empty());
        let mut text = parts.collect::<Vec<&str>>().join(" ");
        if self.wildcards {
            text = chosen(&text, &mut |count| rng.random_range(0..count));
        }
        if !self.shuffle && self.tag_dropout == 0.0 && self.keep_separator.is_none() {
            return text;
        }
        let [mut first, mut free, last] = self.parted(&text);
        if self.shuffle {
            free.shuffle(&mut rng);
        }
        free.retain(|_| self.tag_dropout == 0.0 || !rng.random_bool(self.tag_dropout));
        first.extend(free);
        first.extend(last);
        first.join(", ")
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
        assert_eq!(captions.text("a lily\r\nanother", 0, 0), "a lily in rain");
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
        assert_eq!(chosen("a {red|{wet|dry}} lily", &mut |count| count - 1), "a dry lily");
        assert_eq!(chosen("a {red|{wet|dry}} lily", &mut |_| 0), "a red lily");
        assert_eq!(chosen("a } lily {", &mut |_| 0), "a } lily {");
        let captions = Captions { wildcards: true, ..Captions::default() };
        let mut found = texts(&captions, "{a|b}\nc");
        found.sort();
        found.dedup();
        assert_eq!(found, ["a", "b", "c"]);
        assert!(!captions.is_fixed());
        let captions = Captions { prefix: "x".into(), suffix: "y".into(), ..captions };
        assert!(texts(&captions, "a\nb").iter().all(|it| it == "x a y" || it == "x b y"));
    }
}
