//! Colours behind the transparent parts of images.
//!
//! ```toml
//! [data.backgrounds]
//! caption = "{caption} on {background} background"
//! colours = [
//!     { name = "white", colour = "#ffffff", weight = 2.0 },
//!     { name = "red", colour = "#e03030" },
//!     { name = "blue", colour = "#3050e0" },
//! ]
//! ```
//!
//! Half of the samples of a transparent image are then on white, each with the name of its colour in its
//! text. Which colour a sample has follows from its number. Images that are opaque are left as they are.

use rand::distr::{Distribution, weighted::WeightedIndex};
use serde::{Deserialize, Serialize};

use crate::random::stream;

/// What stands for the text of a sample.
pub const CAPTION: &str = "{caption}";
/// What stands for the name of its colour.
pub const BACKGROUND: &str = "{background}";

/// Colours behind the transparent parts of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backgrounds {
    /// What becomes of a sample's text: `{caption}` stands for it, `{background}` for the name of its
    /// colour.
    #[serde(default = "caption")]
    pub caption: String,
    /// The colours of which each sample has one. Images that are held out have the first.
    pub colours: Vec<Background>,
}

/// One of several colours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// What it is called in texts.
    #[serde(default)]
    pub name: String,
    /// The colour, `#rrggbb`.
    pub colour: Colour,
    /// How often it is drawn, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
}

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour([u8; 3]);

impl Colour {
    /// Red, green and blue.
    pub fn rgb(self) -> [u8; 3] {
        self.0
    }

    /// Puts it behind pixels of which each is as opaque as `alpha` says, from 0 to 255: with $a$ that over
    /// 255, a value $c$ becomes $a c + (1 - a) b$, rounded.
    pub fn put_behind(self, rgb: &mut [u8], alpha: &[u8]) {
        for (pixel, alpha) in rgb.chunks_mut(3).zip(alpha) {
            let alpha = u32::from(*alpha);
            for (value, behind) in pixel.iter_mut().zip(self.0) {
                let sum = u32::from(*value) * alpha + u32::from(behind) * (255 - alpha);
                *value = ((sum + 127) / 255) as u8;
            }
        }
    }
}

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number =
            number.ok_or_else(|| format!("{text:?} is no colour; give #rrggbb, as #ff8800"))?;
        let [_, r, g, b] = number.to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

impl From<Colour> for String {
    fn from(Colour([r, g, b]): Colour) -> Self {
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

impl Backgrounds {
    /// The colour of a sample, which is one of a run by its number.
    ///
    /// # Panics
    /// When there is no colour, or a weight is not above 0, which a recipe is checked for.
    pub fn draw(&self, seed: u64, sample: u64) -> usize {
        let weights = self.colours.iter().map(|colour| colour.weight);
        let weights = WeightedIndex::new(weights).expect("weights of recipes are above 0");
        weights.sample(&mut stream(seed, "background", sample))
    }

    /// A text of a sample of this colour.
    pub fn said(&self, text: &str, colour: usize) -> String {
        let name = &self.colours[colour].name;
        self.caption.replace(BACKGROUND, name).replace(CAPTION, text)
    }

    /// What is wrong with it, by the key below its own.
    pub(crate) fn wrong(&self) -> Option<String> {
        let rest = self.caption.replace(BACKGROUND, "").replace(CAPTION, "");
        if !self.caption.contains(CAPTION) || rest.contains(['{', '}']) {
            return Some(format!(
                "caption: is {:?}; give {CAPTION}, and {BACKGROUND}",
                self.caption
            ));
        }
        let nameless = self.colours.iter().position(|colour| colour.name.trim().is_empty());
        match nameless.filter(|_| self.caption.contains(BACKGROUND)) {
            _ if self.colours.is_empty() => Some("colours: there are none".into()),
            Some(index) => Some(format!("colours.{index}.name: is what {BACKGROUND} stands for")),
            None => None,
        }
    }
}

fn caption() -> String {
    CAPTION.into()
}

fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backgrounds(text: &str) -> Result<Backgrounds, String> {
        toml::from_str(text).map_err(|error| error.message().to_string())
    }

    #[test]
    fn half_of_the_samples_are_white() {
        let all = backgrounds(
            r##"
            caption = "{caption} on {background} background"
            colours = [
                { name = "white", colour = "#ffffff", weight = 2 },
                { name = "red", colour = "#E03030" },
                { name = "blue", colour = "#3050e0", weight = 1.0 },
            ]"##,
        )
        .unwrap();
        assert_eq!(all.colours[1].colour.rgb(), [224, 48, 48]);
        let drawn: Vec<usize> = (0..4000).map(|sample| all.draw(3, sample)).collect();
        for (colour, expected) in [(0, 2000.0), (1, 1000.0), (2, 1000.0)] {
            let count = drawn.iter().filter(|it| **it == colour).count() as f64;
            // Four standard deviations.
            let deviation = (expected * (1.0 - expected / 4000.0f64)).sqrt();
            assert!((count - expected).abs() < 4.0 * deviation, "{colour}: {count}");
        }
        assert_eq!(all.draw(3, 17), drawn[17]);
        assert!((0..100).any(|sample| all.draw(4, sample) != drawn[sample as usize]));
        assert_eq!(all.said("a {lily}", 2), "a {lily} on blue background");
        assert_eq!(all.wrong(), None);
        assert_eq!(toml::from_str::<Backgrounds>(&toml::to_string(&all).unwrap()).unwrap(), all);
    }

    #[test]
    fn a_colour_shows_as_far_as_a_pixel_is_not_opaque() {
        let mut rgb = [200, 100, 0, 200, 100, 0, 200, 100, 0];
        Colour([255, 255, 255]).put_behind(&mut rgb, &[255, 0, 51]);
        // 0.2 · 200 + 0.8 · 255 is 244, and so on.
        assert_eq!(rgb, [200, 100, 0, 255, 255, 255, 244, 224, 204]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let wrong = |text: &str| backgrounds(text).unwrap().wrong().unwrap_or_default();
        assert_eq!(wrong("colours = []"), "colours: there are none");
        let unnamed = r##"caption = "{caption}, {background}"
            colours = [{ colour = "#000000" }]"##;
        assert_eq!(wrong(unnamed), "colours.0.name: is what {background} stands for");
        for caption in ["on {background}", "{caption} on {colour}"] {
            let text = format!("caption = {caption:?}\ncolours = [{{ colour = '#000000' }}]");
            assert!(
                wrong(&text).starts_with(&format!("caption: is {caption:?}; give {{caption}}"))
            );
        }
        let error = backgrounds("colours = [{ colour = 'red' }]").unwrap_err();
        assert!(error.contains(r#""red" is no colour; give #rrggbb"#), "{error}");
    }
}
