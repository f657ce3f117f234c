//! The tokenizer against transformers.

use std::fs;

use higanbana_diffusion::text::{Tokenizer, chunks};
use serde_json::Value;

use super::reference::folder;

#[test]
fn a_thousand_texts_have_the_same_tokens() {
    let expected = fs::read_to_string(folder("tokenizer").join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let texts = expected["texts"].as_array().unwrap();
    assert_eq!(texts.len(), 1000);
    for (case, pad) in [("end", "<|endoftext|>"), ("bang", "!")] {
        let temp = tempfile::tempdir().unwrap();
        for name in ["vocab.json", "merges.txt"] {
            fs::copy(folder("tokenizer").join(name), temp.path().join(name)).unwrap();
        }
        let map = format!(r#"{{"pad_token": "{pad}"}}"#);
        fs::write(temp.path().join("special_tokens_map.json"), map).unwrap();
        let tokenizer = Tokenizer::read(temp.path()).unwrap();
        assert_eq!((tokenizer.begin(), tokenizer.end()), (2512, 2513));
        for (text, tokens) in texts.iter().zip(expected[case].as_array().unwrap()) {
            let found = tokenizer.tokens(text.as_str().unwrap()).unwrap();
            assert_eq!(&Value::from(found), tokens, "{text}");
        }
    }
}

#[test]
fn chunks_have_their_begin_end_and_padding() {
    let tokenizer = Tokenizer::read(&folder("tokenizer")).unwrap();
    let tokens = tokenizer.tokens("a red").unwrap();
    let [a, red] = tokens[..] else { panic!("{tokens:?}") };
    let (begin, end) = (tokenizer.begin(), tokenizer.end());
    let found = chunks(&tokenizer, "a (red:2) a a", 5, 1, 20).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].tokens, [begin, a, red, a, end]);
    assert_eq!(found[0].weights, [1.0, 1.0, 2.0, 1.0, 1.0]);
    assert_eq!(found[1].tokens, [begin, a, end, end, end]);
    let empty = chunks(&tokenizer, "", 5, 2, 20).unwrap();
    assert_eq!(empty[1].tokens, [begin, end, end, end, end]);
    assert!(chunks(&tokenizer, "a", 2, 1, 20).is_err());
}
