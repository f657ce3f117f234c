//! One algorithm is one file: nothing else in the code knows its name, nor the keys of its files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use higanbana_adapters::registry;

/// Where names may stand, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/higanbana-adapters/src/algorithms", "the algorithms, and the list of their modules"),
    ("crates/higanbana-adapters/src/registry.rs", "the list of algorithms"),
    ("crates/higanbana-adapters/src/rotation.rs", "a key of files, shared by two algorithms"),
    ("crates/higanbana-adapters/src/scale.rs", "an option, called like an algorithm"),
    ("crates/higanbana-adapters/src/inject/presets.rs", "presets are called like algorithms"),
    ("crates/higanbana-adapters/src/inject/sites.rs", "`norm` is a kind of layer"),
    ("crates/higanbana-core/src/site.rs", "`norm` is a kind of parameter"),
    ("crates/higanbana-io/src/error.rs", "what the dialects of others can hold"),
    ("crates/higanbana-io/src/dialect/", "keys as kohya, diffusers and PEFT spell them"),
    ("crates/higanbana-io/src/names/spelling.rs", "kohya's prefixes of modules"),
    ("crates/higanbana-lab/src/initialisation.rs", "an option, called like an algorithm"),
    ("crates/higanbana-cli/src/commands/scaling.rs", "rsLoRA and LoRA+, rules about scales"),
    ("crates/higanbana-cli/src/commands/generate.rs", "how web UIs write an adapter in a prompt"),
    ("crates/higanbana-train/src/file.rs", "what metadata call any adapter"),
    ("benches/merge_memory.rs", "a file of some algorithm"),
    ("benches/train.rs", "what is timed beside LyCORIS"),
    ("tests/diffusion/", "files and presets of certain algorithms"),
    ("tests/lab.rs", "experiments on some algorithms"),
    ("tests/laws/freedom.rs", "dimensions that are known beforehand"),
    ("tests/laws/gamma", "degrees that are known beforehand"),
    ("tests/laws/golden.rs", "numbers of LyCORIS's, algorithm by algorithm"),
    ("tests/laws/mutants", "the algorithm that is broken"),
    ("tests/presets.rs", "presets, and what they are for"),
    ("tests/readme/formulas.rs", "symbols of the table that stand for sizes in a file"),
    ("tests/reference.rs", "files of LyCORIS's, algorithm by algorithm"),
    ("tests/training/", "files of LyCORIS's"),
    ("tests/cli/", "commands about a certain file"),
    ("tests/one_file.rs", "here"),
];

/// Names that are words of the language as well: only where the whole of a string is the name.
const WORDS: [&str; 2] = ["full", "norm"];

#[test]
fn no_other_file_names_an_algorithm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = Names::of_registry();
    let mut found = Vec::new();
    for file in ["crates", "tests", "benches"].iter().flat_map(|folder| sources(&root.join(folder)))
    {
        let path = file.strip_prefix(&root).expect("below").to_string_lossy().replace('\\', "/");
        // A test of a crate names what it tests.
        let test =
            path.starts_with("crates") && (path.contains("/tests/") || path.ends_with("/tests.rs"));
        if test || ALLOWED.iter().any(|(allowed, _)| path.starts_with(allowed)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let lines = code(&text).filter(|(_, line)| names.are_in(line));
        found.extend(lines.map(|(number, line)| format!("{path}:{number}: {}", line.trim())));
    }
    assert!(found.is_empty(), "names of algorithms outside their files:\n{}", found.join("\n"));
}

#[test]
fn what_is_allowed_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = Names::of_registry();
    let files: Vec<PathBuf> = ["crates", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .collect();
    for (allowed, _) in ALLOWED {
        let mut within = files.iter().filter(|file| file.to_string_lossy().contains(allowed));
        let speaks = |file: &PathBuf| {
            code(&fs::read_to_string(file).expect("a source file"))
                .any(|(_, line)| names.are_in(line))
        };
        assert!(within.any(speaks), "{allowed} names no algorithm: it needs no permission");
    }
}

/// What an algorithm is known by.
struct Names {
    /// The words of its names.
    words: BTreeSet<&'static str>,
    /// Keys of its files, up to a dot; those of one word are words of the language as well.
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
            keys: keys.filter(|key| key.contains('_')).collect(),
        }
    }

    /// Whether a line has a name, in an identifier or in a string.
    fn are_in(&self, line: &str) -> bool {
        words(line).any(|word| self.words.contains(word.as_str()))
            || self.keys.iter().any(|key| line.contains(key))
            || WORDS.iter().any(|word| line.contains(&format!("\"{word}\"")))
    }
}

/// The words of a line, also those inside identifiers: `DyLora` and `lora_up` have `lora`.
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
    spaced.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().into_iter()
}

/// Lines that are neither comments nor inside an item for tests alone.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // The indentation of such an item, and whether its first line is still to come.
    let mut test: Option<(usize, bool)> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if start.starts_with("//") {
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
    for line in
        ["ops::loha_update(x)", "struct DyLora;", "\"lokr\"", "hada_w1_a", "\"norm\"", "\"locon\""]
    {
        assert!(names.are_in(line), "{line}");
    }
    for line in ["full_rank()", "let norm = norm(x);", "the diagonal", "explore", "diff"] {
        assert!(!names.are_in(line), "{line}");
    }
}

#[test]
fn only_items_of_tests_are_passed_over() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n// c\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    d\n}\ne\n    #[cfg(test)]\n    use f;\n    g\n";
    let lines: Vec<_> = code(text).map(|(number, line)| (number, line.trim())).collect();
    assert_eq!(lines, [(1, "a"), (4, "b"), (11, "e"), (14, "g")]);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if path.ends_with("target") {
                continue;
            }
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
