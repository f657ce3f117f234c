//! Patterns over the paths of layers.

use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::InjectError;

/// A pattern over paths, read from text. It speaks of the whole path of a layer.
///
/// ```text
/// **.attn2.to_k           a glob: `*` and `?` stay within a name, `**` crosses dots,
/// **.{to_q,to_k}          alternatives, [12] classes
/// mid_block.**            all layers inside
/// re:.*attn[12]\.to_.     a regular expression
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// Whether the pattern matches the whole of a path.
    pub fn matches(&self, path: &str) -> bool {
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_match(path.replace('.', "/")),
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }

    /// The text of a pattern for everything inside the modules that this one matches.
    pub(super) fn inside(&self) -> String {
        match &self.matcher {
            Matcher::Glob(_) => format!("{}.**", self.text),
            Matcher::Regex(_) => format!(r"re:(?:{})\..*", &self.text["re:".len()..]),
        }
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pattern {
    type Err = InjectError;

    fn from_str(text: &str) -> Result<Self, InjectError> {
        let wrong = |reason: String| InjectError::Pattern { pattern: text.into(), reason };
        let matcher = match text.strip_prefix("re:") {
            Some(regex) => Regex::new(&format!("^(?:{regex})$"))
                .map(Matcher::Regex)
                .map_err(|error| wrong(last_line(&error.to_string())))?,
            None => GlobBuilder::new(&text.replace('.', "/"))
                .literal_separator(true)
                .build()
                .map(|glob| Matcher::Glob(glob.compile_matcher()))
                .map_err(|error| wrong(error.kind().to_string()))?,
        };
        Ok(Self { text: text.into(), matcher })
    }
}

/// The reason in a message of the `regex` crate, which draws a picture above it.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").into()
}

impl TryFrom<String> for Pattern {
    type Error = InjectError;

    fn try_from(text: String) -> Result<Self, InjectError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(path)
    }

    #[test]
    fn stars_stay_within_a_name_and_double_stars_cross_dots() {
        assert!(matches("mid.*.to_k", "mid.attn1.to_k"));
        assert!(!matches("mid.*.to_k", "mid.0.attn1.to_k"));
        assert!(matches("mid.**.to_k", "mid.0.attn1.to_k"));
        assert!(matches("**.to_k", "to_k"));
        assert!(matches("**.to_{k,v}", "a.b.to_v"));
        assert!(!matches("**.to_k", "a.to_k_2"));
        assert!(!matches("mid.to_k", "midxto_k"));
    }

    #[test]
    fn regular_expressions_speak_of_the_whole_path() {
        assert!(matches(r"re:.*attn[12]\.to_.", "mid.attn2.to_k"));
        assert!(!matches(r"re:attn[12]\.to_.", "mid.attn2.to_k"));
        assert!(!matches(r"re:mid|mid\.attn", "mid.attn.to_k"));
    }

    #[test]
    fn what_cannot_be_read_says_why_on_one_line() {
        for (pattern, reason) in [("a.[b", "unclosed character class"), ("re:(", "unclosed group")]
        {
            let message = pattern.parse::<Pattern>().unwrap_err().to_string();
            assert!(message.contains(pattern) && message.contains(reason), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
    }
}
