//! The two streams. Everything that the process says passes here, so that nothing that a file holds, be it
//! the name of a tensor or its own, can steer the terminal or forge a line.

use std::io::{self, Write};

use anyhow::{Context, Result};

/// Says one line on standard error. A stream that cannot be written, such as that of a terminal which was
/// closed, changes nothing about the work.
pub fn say(text: impl AsRef<str>) {
    let _ = io::stderr().lock().write_all((plain(text.as_ref()) + "\n").as_bytes());
}

/// Writes one line to standard output.
///
/// # Errors
/// When it cannot be written. What a command reports, it has done.
pub fn line(text: impl AsRef<str>) -> Result<()> {
    print(plain(text.as_ref()))
}

/// Writes several lines to standard output.
///
/// # Errors
/// As [`line`].
pub fn lines(text: impl AsRef<str>) -> Result<()> {
    print(plain_lines(text.as_ref()))
}

/// Writes text that is JSON already.
///
/// # Errors
/// As [`line`].
pub fn json_text(text: impl AsRef<str>) -> Result<()> {
    print(escaped(text.as_ref().trim_end()))
}

fn print(text: String) -> Result<()> {
    io::stdout().lock().write_all((text + "\n").as_bytes()).context(
        "standard output: the report cannot be written; an output file that it is about is complete",
    )
}

/// Standard error as a writer that never fails: a log that cannot be written is ignored as well.
#[derive(Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = plain_lines(&String::from_utf8_lossy(bytes));
        let _ = io::stderr().lock().write_all(text.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text in one line that a terminal shows as it stands.
pub fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        c if !steers(c) => c,
        c if c.is_whitespace() => ' ',
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(shown).collect()
}

/// The same for lines that are meant to be some.
fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// JSON with the same characters escaped; its own line breaks stay.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => text.push(c),
            c if steers(c) => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text
}

/// Whether a character moves the cursor, begins a sequence that does, ends a line, or turns the direction
/// in which the following ones are set (Unicode's bidirectional controls).
fn steers(c: char) -> bool {
    const BIDI_MARKS: [char; 3] = ['\u{61c}', '\u{200e}', '\u{200f}'];
    const SEPARATORS_AND_EMBEDDINGS: std::ops::RangeInclusive<char> = '\u{2028}'..='\u{202e}';
    const ISOLATES: std::ops::RangeInclusive<char> = '\u{2066}'..='\u{2069}';
    c.is_control()
        || BIDI_MARKS.contains(&c)
        || SEPARATORS_AND_EMBEDDINGS.contains(&c)
        || ISOLATES.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character that a terminal would obey, by the code charts.
    fn steering() -> impl Iterator<Item = char> {
        let ranges = [0..0x20, 0x7f..0xa0, 0x200e..0x2010, 0x2028..0x202f, 0x2066..0x206a];
        ranges.into_iter().flatten().chain([0x61c]).filter_map(char::from_u32)
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for c in steering() {
            let shown = plain(&format!("a{c}b"));
            assert!(shown == "a b" || shown == "a\u{fffd}b", "{:x}", u32::from(c));
        }
        let harmless = "ä–日本語 שלום 👩‍🚀 α/r";
        assert_eq!(plain(harmless), harmless);
        assert_eq!(plain("x\r\nerror: y\u{1b}[2K"), "x  error: y\u{fffd}[2K");
    }

    #[test]
    fn json_is_escaped_and_means_the_same() {
        let text: String = steering().chain("\"ä\\".chars()).collect();
        let json = serde_json::to_string_pretty(&[&text]).unwrap();
        let shown = escaped(&json);
        assert!(!shown.chars().any(|c| steers(c) && c != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }
}
