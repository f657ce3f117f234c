//! One algorithm is one file: nothing else in the code knows its name, nor the keys of its files.
//! Documentation, examples in help, presets and tests may.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use higanbana_adapters::registry;

/// Where names may stand, and why. The laws among them hold fixtures: numbers that were known beforehand.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/higanbana-adapters/src/algorithms", "the algorithms, and the list of their modules"),
    ("crates/higanbana-adapters/src/registry.rs", "the list of algorithms"),
    ("crates/higanbana-adapters/src/inject/presets.rs", "presets are called like algorithms"),
    ("tests/laws/freedom.rs", "dimensions that are known beforehand"),
    ("tests/laws/gamma", "degrees that are known beforehand"),
    ("tests/laws/golden.rs", "numbers of LyCORIS's, algorithm by algorithm"),
    ("tests/laws/mutants", "the algorithm that is broken"),
];

/// What sounds like the name of an algorithm and is none, and what it is.
const OTHERS: &[(&str, &str)] = &[
    ("rs_lora", "an option of several algorithms"),
    ("rs-lora", "the same on the command line"),
    ("lora_plus", "a rule about learning rates"),
    ("LoRA+", "the same"),
    ("lora-plus", "its option"),
    ("\"lora_", "how the names of kohya's modules begin, of any algorithm"),
    ("<lora:", "how web UIs write any adapter in a prompt"),
    ("\"lora\", \"lyco\"", "the same, as a list"),
    ("lora-block-weight", "an extension of a web UI, whose weights any adapter takes"),
    ("pytorch_lora_weights", "how diffusers calls the file of any adapter"),
    ("\"oft_unet_", "how the names of kohya's modules begin that rotate"),
    ("/lora\"", "how metadata call any adapter"),
    ("Self::Norm => \"norm\"", "a kind of parameter, or of layer"),
];

/// Names that are words of the language as well: only where the whole of a string is the name.
const WORDS: [&str; 2] = ["full", "norm"];

/// Keys that are words of the language as well, and tell no algorithm.
const COMMON: [&str; 2] = ["alpha", "weight"];

#[test]
fn no_other_file_names_an_algorithm() {
    let names = Names::of_registry();
    let mut found = Vec::new();
    for (path, text) in sources() {
        if ALLOWED.iter().any(|(allowed, _)| path.starts_with(allowed)) {
            continue;
        }
        let lines = code(&text).filter(|(_, line)| names.are_in(line));
        found.extend(lines.map(|(number, line)| format!("{path}:{number}: {}", line.trim())));
    }
    assert!(found.is_empty(), "names of algorithms outside their files:\n{}", found.join("\n"));
}

#[test]
fn what_is_allowed_is_there() {
    let (names, sources) = (Names::of_registry(), sources());
    for (allowed, _) in ALLOWED {
        let mut within = sources.iter().filter(|(path, _)| path.starts_with(allowed));
        let speaks = |text: &str| code(text).any(|(_, line)| names.are_in(line));
        assert!(
            within.any(|(_, text)| speaks(text)),
            "{allowed} names no algorithm: it needs no permission"
        );
    }
    for (other, _) in OTHERS {
        let said = |(_, text): &(String, String)| code(text).any(|(_, line)| line.contains(other));
        assert!(sources.iter().any(said), "{other} is nowhere: it needs no permission");
    }
}

/// What an algorithm is known by.
struct Names {
    /// The words of its names.
    words: BTreeSet<&'static str>,
    /// Keys of its files, up to a dot.
    keys: BTreeSet<&'static str>,
}

impl Names {
    fn of_registry() -> Self {
        let registry = registry();
        let keys =
            registry.iter().flat_map(|kind| kind.keys()).filter_map(|key| key.split('.').next());
        let names = registry
            .iter()
            .flat_map(|kind| kind.name().split(['+', '-']).chain(kind.convolutional_name()));
        Self {
            // Diagonal is what else is called so.
            words: names.filter(|name| *name != "diag" && !WORDS.contains(name)).collect(),
            keys: keys.filter(|key| !COMMON.contains(key)).collect(),
        }
    }

    /// Whether a line has a name, in an identifier or in a string; a key of one word only as the
    /// beginning of a string.
    fn are_in(&self, line: &str) -> bool {
        let line = OTHERS.iter().fold(line.to_string(), |line, (other, _)| line.replace(other, ""));
        let is_key = |key: &&str| match key.contains('_') {
            true => line.contains(key),
            false => [".", "\""].iter().any(|end| line.contains(&format!("\"{key}{end}"))),
        };
        words(&line).any(|word| self.words.contains(word.as_str()))
            || self.keys.iter().any(is_key)
            || WORDS.iter().any(|word| line.contains(&format!("\"{word}\"")))
    }
}

/// The words of a line, also those inside identifiers: `DyLora` and `lora_up` have `lora`, and `DyLoRA` is
/// one word.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut last = ' ';
    for c in line.chars() {
        if c.is_uppercase() && last.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        last = c;
    }
    let plain = line.split(|c: char| !c.is_alphanumeric());
    let words = spaced.split_whitespace().chain(plain).map(str::to_lowercase);
    words.collect::<Vec<_>>().into_iter()
}

/// Lines that are neither documentation nor inside an item for tests alone.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // The indentation of such an item, and whether its first line is still to come.
    let mut test: Option<(usize, bool)> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if start.starts_with("///") || start.starts_with("//!") {
            return None;
        }
        match test {
            None if start.starts_with("#[cfg(test)]") || start.starts_with("#[cfg(all(test") => {
                test = Some((indent, true));
            }
            None => return Some((index + 1, line)),
            Some((_, true)) if start.starts_with("#[") => (),
            // rustfmt puts the end of an item at its beginning's indentation.
            Some((outer, first)) => {
                let ends = if first { !line.ends_with(['{', '(']) } else { start.starts_with('}') };
                test = if indent == outer && ends { None } else { Some((outer, false)) };
            }
        }
        None
    })
}

#[test]
fn names_are_found_wherever_they_stand() {
    let names = Names::of_registry();
    for line in [
        "ops::loha_update(x)",
        "struct DyLora;",
        "\"lokr\"",
        "hada_w1_a",
        "\"norm\"",
        "\"locon\"",
        "tensors[\"diff\"]",
        "\"a1.weight\"",
        "// As LoKr has it.",
        "rs_lora || lora",
    ] {
        assert!(names.are_in(line), "{line}");
    }
    for line in [
        "full_rank()",
        "let norm = norm(x);",
        "the diagonal",
        "explore",
        "difference",
        "rs_lora: bool,",
        "Self::Norm => \"norm\",",
    ] {
        assert!(!names.are_in(line), "{line}");
    }
}

#[test]
fn only_documentation_and_items_of_tests_are_passed_over() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n/// c\n// d\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    e\n}\nf\n    #[cfg(test)]\n    use g;\n    h\n";
    let lines: Vec<_> = code(text).map(|(number, line)| (number, line.trim())).collect();
    assert_eq!(lines, [(1, "a"), (4, "b"), (6, "// d"), (12, "f"), (15, "h")]);
}

/// Sources of the toolkit, the benches and the laws, by path. Tests of one crate, and other tests of
/// all of them, name what they test.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates", "benches", "tests/laws"] {
        collect(&root.join(folder), &mut files);
    }
    let relative = |file: PathBuf| {
        let path = file.strip_prefix(&root).expect("below").to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&file).expect("a source file");
        (path, text)
    };
    let is_test = |path: &str| {
        path.starts_with("crates") && (path.contains("/tests/") || path.ends_with("/tests.rs"))
    };
    files.into_iter().map(relative).filter(|(path, _)| !is_test(path)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
