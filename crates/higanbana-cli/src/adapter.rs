//! Adapter files on the command line, each with its strength.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use higanbana_io::apply::{OPTIONS, Strength, is_option, number};

/// An adapter file as it is named on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// The file.
    pub path: PathBuf,
    /// Its strength, where one is given.
    strength: Option<f64>,
    /// Options for parts of a model, such as `te=0.5`.
    options: Vec<String>,
}

/// Reads an adapter, of a name in whatever encoding.
pub fn parser() -> ValueParser {
    OsStringValueParser::new().try_map(|text| Adapter::parse(&text)).into()
}

impl Adapter {
    /// Splits `FILE[:MU][:OPTION]...`. Names may hold colons: what is there under the whole name is
    /// meant; else a number after the last colon is a strength, and anything else that follows the name
    /// of a file was meant to be one.
    fn parse(text: &OsStr) -> Result<Self, String> {
        let mut adapter = Self { path: text.into(), strength: None, options: Vec::new() };
        while let Some((path, last)) = split(adapter.path.as_os_str()) {
            let is_file = Path::new(&path).is_file();
            match () {
                () if adapter.path.exists() => break,
                () if is_option(&last) || is_file && last.contains('=') => {
                    Strength::from(1.0).set(&last)?;
                    adapter.options.insert(0, last);
                }
                () if adapter.strength.is_none() && (is_file || last.parse::<f64>().is_ok()) => {
                    adapter.strength = Some(number(&last)?);
                }
                () => break,
            }
            adapter.path = path.into();
        }
        match adapter.path.as_os_str().is_empty() {
            true => Err("name an adapter file before the strength".into()),
            false => Ok(adapter),
        }
    }

    /// How strong it is, if not said otherwise as strong as that.
    pub fn strength(&self, otherwise: f64) -> Strength {
        let mut strength = Strength::from(self.strength.unwrap_or(otherwise));
        for option in &self.options {
            strength.set(option).expect("it was read before");
        }
        strength
    }
}

/// Splits a text at its last colon.
#[cfg(unix)]
fn split(text: &OsStr) -> Option<(OsString, String)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let colon = bytes.iter().rposition(|byte| *byte == b':')?;
    let after = String::from_utf8_lossy(&bytes[colon + 1..]).into_owned();
    Some((OsStr::from_bytes(&bytes[..colon]).into(), after))
}

#[cfg(not(unix))]
fn split(text: &OsStr) -> Option<(OsString, String)> {
    let (path, after) = text.to_str()?.rsplit_once(':')?;
    Some((path.into(), after.into()))
}

/// The help of an adapter argument: strength and options that may follow a file.
pub fn help(begin: &str) -> String {
    format!(
        "{begin}: as trained is 1, a negative one takes away. Options may follow, each after a colon: {OPTIONS}; \
         the weights are those of lora-block-weight, 17 or 26 for SD 1 and 2, 12 or 20 for SDXL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_after_the_last_colon_is_a_strength() {
        for (text, path, strength) in [
            ("a.safetensors", "a.safetensors", None),
            ("a.safetensors:0.8", "a.safetensors", Some(0.8)),
            ("a.safetensors:-1", "a.safetensors", Some(-1.0)),
            ("C:\\a.safetensors", "C:\\a.safetensors", None),
            ("C:\\a.safetensors:1e-1", "C:\\a.safetensors", Some(0.1)),
            ("a:b", "a:b", None),
            ("a:1:2", "a:1", Some(2.0)),
            ("a:", "a:", None),
            ("a=b:c=d", "a=b:c=d", None),
        ] {
            let adapter = Adapter { path: path.into(), strength, options: Vec::new() };
            assert_eq!(Adapter::parse(text.as_ref()), Ok(adapter), "{text}");
        }
    }

    #[test]
    fn options_follow_the_strength() {
        let strength = |text: &str| {
            let adapter = Adapter::parse(text.as_ref()).unwrap();
            assert_eq!(adapter.path, Path::new("C:\\a"), "{text}");
            adapter.strength(2.0).to_string()
        };
        assert_eq!(strength("C:\\a:0.8:te=0.5"), "0.8:te=0.5");
        assert_eq!(strength("C:\\a:te=0.5"), "2:te=0.5");
        assert_eq!(strength("C:\\a:te=0.5:unet=0.5:0.8"), "0.5");
        let weights = "1,0.5,0,0,1,1,1,1,1,1,1,-1";
        assert_eq!(strength(&format!("C:\\a:1:lbw={weights}")), format!("1:lbw={weights}"));
    }

    #[test]
    fn what_is_no_strength_is_refused() {
        for text in ["", ":0.5", "a:inf", "a:NaN"] {
            assert!(Adapter::parse(text.as_ref()).is_err(), "{text}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.path().display();
        for wrong in ["much", "te=much", "dyn=4", "lbw=1,2"] {
            assert!(Adapter::parse(format!("{file}:{wrong}").as_ref()).is_err(), "{wrong}");
        }
    }
}
