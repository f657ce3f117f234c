//! CLIP's tokenizer: byte pairs of lower-case words.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    models::bpe::{BPE, Merges, Vocab},
    normalizers::{
        NFC, Replace, Sequence as Normalizers, replace::ReplacePattern, utils::Lowercase,
    },
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence as PreTokenizers,
        split::{Split, SplitPattern},
    },
};

use super::learnt::Learnt;
use crate::ModelError;

/// Text to tokens.
#[derive(Debug)]
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    begin: usize,
    end: usize,
    pad: usize,
    learnt: Learnt,
}

const BEGIN: &str = "<|startoftext|>";
/// The token that ends a text.
pub const END: &str = "<|endoftext|>";

/// Words, as CLIP splits them: a suffix, letters, one digit, or other signs.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

impl Tokenizer {
    /// Reads a folder with `vocab.json` and `merges.txt`, or `tokenizer.json`.
    ///
    /// # Errors
    /// When files are missing or cannot be read.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let [vocab, merges, whole] =
            ["vocab.json", "merges.txt", "tokenizer.json"].map(|name| folder.join(name));
        let tokenizer = if vocab.exists() || !whole.exists() {
            exists(&vocab)?;
            exists(&merges)?;
            let names = [&vocab, &merges].map(|path| path.to_string_lossy().into_owned());
            let pairs = BPE::read_file(&names[0], &names[1]).map_err(wrong(&vocab))?;
            byte_pairs(pairs.0, pairs.1, &vocab)?
        } else {
            tokenizers::Tokenizer::from_file(&whole).map_err(wrong(&whole))?
        };
        Self::new(tokenizer, &padding(folder)?, folder)
    }

    /// CLIP's own, with a token for padding: single files carry none.
    ///
    /// # Errors
    /// When there is no such token.
    pub fn built_in(pad: &str) -> Result<Self, ModelError> {
        let (vocab, pairs) = clips_own();
        let path = Path::new("(built in)");
        Self::new(byte_pairs(vocab, pairs, path)?, pad, path)
    }

    /// The files that [`Self::read`] reads, of CLIP's own: name and text.
    pub fn files(pad: &str) -> [(&'static str, String); 3] {
        let vocab: Map<String, Value> =
            clips_own().0.into_iter().map(|(token, id)| (token, id.into())).collect();
        let config = json!({
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "bos_token": BEGIN,
            "eos_token": END,
            "unk_token": END,
            "pad_token": pad,
        });
        [
            ("vocab.json", Value::Object(vocab).to_string()),
            ("merges.txt", MERGES.into()),
            ("tokenizer_config.json", format!("{config:#}\n")),
        ]
    }

    fn new(
        mut tokenizer: tokenizers::Tokenizer,
        pad: &str,
        folder: &Path,
    ) -> Result<Self, ModelError> {
        // Special tokens stand for themselves in a text, the one for padding too.
        let special = [BEGIN, END, pad].map(|token| AddedToken::from(token, true));
        tokenizer.add_special_tokens(special).map_err(wrong(folder))?;
        let id = |token: &str| {
            tokenizer.token_to_id(token).map(|id| id as usize).ok_or_else(|| ModelError::Config {
                path: folder.into(),
                reason: format!("its vocabulary lacks {token}"),
            })
        };
        let (begin, end, pad) = (id(BEGIN)?, id(END)?, id(pad)?);
        Ok(Self { tokenizer, begin, end, pad, learnt: Learnt::default() })
    }

    /// The tokens of a text, without those for its begin and end.
    ///
    /// # Errors
    /// When the text cannot be split.
    pub fn tokens(&self, text: &str) -> Result<Vec<usize>, ModelError> {
        let mut tokens = Vec::new();
        for (text, learnt) in self.learnt.parts(text) {
            tokens.extend(self.known(text)?);
            tokens.extend(learnt.into_iter().flat_map(Range::clone));
        }
        Ok(tokens)
    }

    /// The tokens of a text that are the vocabulary's.
    fn known(&self, text: &str) -> Result<Vec<usize>, ModelError> {
        let encode = |text: &str| self.tokenizer.encode_fast(text, false);
        let encoding = encode(text).map_err(|error| {
            // A vocabulary of whole words does not have all of them.
            let unknown = text.split_whitespace().find(|word| encode(word).is_err());
            let reason =
                unknown.map(|word| format!("has the word {word}, which the model does not know"));
            ModelError::input("prompt", reason.unwrap_or(error.to_string()))
        })?;
        Ok(encoding.get_ids().iter().map(|id| *id as usize).collect())
    }

    /// Takes a token for these numbers from now on, wherever a text holds it: in small letters or large ones,
    /// and not as a part of a word. A word of the vocabulary means the token then.
    ///
    /// # Errors
    /// As [`Self::check_new`].
    pub fn learn(&mut self, token: &str, numbers: Range<usize>) -> Result<(), ModelError> {
        self.check_new(token)?;
        self.learnt.add(token, numbers);
        Ok(())
    }

    /// That a token can be [learnt](Self::learn).
    ///
    /// # Errors
    /// When it is none, or learnt already.
    pub fn check_new(&self, token: &str) -> Result<(), ModelError> {
        let reason =
            if token.is_empty() || token.trim() != token || token.contains(char::is_control) {
                "is no token, which is plain text without spaces around it"
            } else if self.numbers(token).is_some() {
                "is learnt already; give one of the two another name"
            } else {
                return Ok(());
            };
        Err(ModelError::input(format!("token {token}"), reason))
    }

    /// The numbers of a learnt token.
    pub fn numbers(&self, token: &str) -> Option<Range<usize>> {
        self.learnt.numbers(token).cloned()
    }

    /// The learnt tokens, and the numbers of each.
    pub fn learnt(&self) -> &[(String, Range<usize>)] {
        self.learnt.all()
    }

    /// Whether a number is one of a learnt token's, and not its first.
    pub fn goes_on(&self, number: usize) -> bool {
        self.learnt()
            .iter()
            .any(|(_, numbers)| numbers.contains(&number) && numbers.start != number)
    }

    /// Whether a text holds a learnt token.
    pub fn holds(&self, text: &str, token: &str) -> bool {
        let numbers = self.learnt.numbers(token);
        self.learnt.parts(text).iter().any(|(_, found)| found.is_some() && *found == numbers)
    }

    /// The token that begins a text.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// The token that ends a text.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The token of a comma, if the vocabulary has one.
    pub fn comma(&self) -> Option<usize> {
        let id = |text: &str| self.tokenizer.token_to_id(text).map(|id| id as usize);
        // A vocabulary of whole words does not mark their ends.
        id(",</w>").or_else(|| id(","))
    }

    /// The token that fills what is left behind the end.
    pub fn pad(&self) -> usize {
        self.pad
    }
}

/// CLIP's byte pairs.
const MERGES: &str = include_str!("../../data/merges.txt");

/// CLIP's tokens and their numbers, which follow from its byte pairs, and these.
fn clips_own() -> (Vocab, Merges) {
    let pairs = MERGES.lines().skip(1).filter_map(|line| line.split_once(' '));
    let pairs: Merges = pairs.map(|(a, b)| (a.into(), b.into())).collect();
    let ends = [BEGIN.to_string(), END.to_string()];
    let tokens = symbols()
        .chain(symbols().map(|symbol| symbol + "</w>"))
        .chain(pairs.iter().map(|(a, b)| format!("{a}{b}")))
        .chain(ends);
    (tokens.zip(0u32..).collect(), pairs)
}

fn exists(path: &Path) -> Result<(), ModelError> {
    let missing = |source| ModelError::Read { path: path.into(), source };
    fs::metadata(path).map(drop).map_err(missing)
}

fn wrong(path: &Path) -> impl Fn(tokenizers::Error) -> ModelError {
    let path: PathBuf = path.into();
    move |error| ModelError::Config { path: path.clone(), reason: error.to_string() }
}

/// A sign for each byte, in the order of CLIP's vocabulary: first the bytes that are signs
/// themselves, then the others as the signs from U+0100 on.
fn symbols() -> impl Iterator<Item = String> {
    let printable = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff);
    let others = 256 - printable.clone().count() as u32;
    let others = (256..256 + others).filter_map(char::from_u32);
    printable.map(char::from).chain(others).map(String::from)
}

/// As transformers builds it; `path` is for messages.
fn byte_pairs(
    vocab: Vocab,
    merges: Merges,
    path: &Path,
) -> Result<tokenizers::Tokenizer, ModelError> {
    let bytes = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .unk_token(END.into())
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".into())
        .build()
        .map_err(wrong(path))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bytes);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(wrong(path))?;
    let normalizers = Normalizers::new(vec![
        NormalizerWrapper::NFC(NFC),
        NormalizerWrapper::Replace(spaces),
        NormalizerWrapper::Lowercase(Lowercase),
    ]);
    tokenizer.with_normalizer(Some(normalizers)).map_err(wrong(path))?;
    let words = SplitPattern::Regex(WORDS.into());
    let split = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(wrong(path))?;
    let bytes = ByteLevel::default().add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(bytes),
    ])));
    Ok(tokenizer)
}

/// The token for padding: of SD 2 and of SDXL's second encoder `!`, else that for the end.
fn padding(folder: &Path) -> Result<String, ModelError> {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let json: Value = serde_json::from_str(&text).map_err(|error| ModelError::Config {
            path: path.clone(),
            reason: format!("is not JSON ({error})"),
        })?;
        let token = json.get("pad_token");
        // Either the token or an object that describes it.
        let token = token.map(|token| token.get("content").unwrap_or(token));
        if let Some(token) = token.and_then(Value::as_str) {
            return Ok(token.into());
        }
    }
    Ok(END.into())
}
