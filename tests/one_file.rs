//! One algorithm is one file: nothing else in the code knows its name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use higanbana_adapters::registry;

/// Where names may stand: the algorithms themselves, the list of them, presets that are called like
/// their algorithm, and the spellings of other libraries' files, which are theirs.
const ALLOWED: &[&str] = &[
    "adapters/src/algorithms/",
    "adapters/src/registry.rs",
    "adapters/src/inject/presets.rs",
    "io/src/dialect/",
];

#[test]
fn no_other_file_names_an_algorithm() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the crates");
    let names: Vec<String> = registry()
        .iter()
        .map(|kind| kind.name().to_string())
        // `full` and `norm` are words of the language as well.
        .filter(|name| name != "full" && name != "norm")
        .collect();
    let mut found = Vec::new();
    for file in sources(crates) {
        let path = file.strip_prefix(crates).expect("below").to_string_lossy().replace('\\', "/");
        if ALLOWED.iter().any(|allowed| path.contains(allowed)) || path.contains("/tests") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        for (number, line) in code(&text) {
            for name in &names {
                if line.contains(&format!("\"{name}\"")) {
                    found.push(format!("{path}:{number}: {}", line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "names of algorithms outside their files:\n{}", found.join("\n"));
}

/// Lines that are neither documentation nor tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
