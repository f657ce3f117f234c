//! Adapters that a prompt names.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result, anyhow, bail};
use higanbana_core::nearest;
use higanbana_io::{
    Checkpoint, Strength,
    apply::{OPTIONS, number},
    run::Run,
};
use regex::Regex;

/// Names of adapters in a prompt of the web UIs, whatever their algorithm.
const KINDS: [&str; 2] = ["lora", "lyco"];

/// Endings of files that adapters are in.
const ENDINGS: [&str; 4] = ["safetensors", "pt", "ckpt", "bin"];

/// The file that marks a folder as a model of diffusers.
const MODEL: &str = "model_index.json";

/// A prompt without the adapters that it names, `<lora:NAME:TE:UNET>` as the web UIs write it, and these
/// with their files in a folder.
///
/// # Errors
/// When it names something else, there is no folder, or not one file of a name in it.
pub fn adapters(prompt: &str, folder: Option<&Path>) -> Result<(String, Vec<(PathBuf, Strength)>)> {
    static NAMED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"<(\w+):([^>]+)>").expect("it is one"));
    let mut found = Vec::new();
    for named in NAMED.captures_iter(prompt) {
        let whole = &named[0];
        if !KINDS.contains(&&named[1]) {
            bail!(
                "--prompt: {whole} is nothing that is read; there are <lora:NAME:MU>, <lyco:NAME:MU>"
            );
        }
        let (name, strength) =
            parts(&named[2]).map_err(|error| anyhow!("--prompt: {whole}: {error}"))?;
        let folder = folder.with_context(|| {
            format!("--prompt: {whole} needs the folder that holds {name}; give --adapter-dir DIR")
        })?;
        found.push((file(folder, name)?, strength));
    }
    Ok((NAMED.replace_all(prompt, "").into_owned(), found))
}

/// `NAME:TE:UNET`, of which both or the last may be left out, or options.
fn parts(text: &str) -> Result<(&str, Strength), String> {
    let (options, positional): (Vec<&str>, Vec<&str>) =
        text.split(':').partition(|part| part.contains('='));
    let [name, strengths @ ..] = &positional[..] else { return Err("has no name".into()) };
    let mut strength = match *strengths {
        [] => Strength::from(1.0),
        [both] => number(both)?.into(),
        [te, unet] => Strength { text: number(te)?, ..number(unet)?.into() },
        [_, _, rest, ..] => {
            return Err(format!("{rest} is nothing that is read; options are {OPTIONS}"));
        }
    };
    // As the web UIs have it, what is said of the text encoders holds for the UNet unless that has its own.
    let te = options.iter().find_map(|option| option.strip_prefix("te="));
    if let Some(te) = te.filter(|_| strengths.len() < 2) {
        strength = number(te)?.into();
    }
    options.iter().try_for_each(|option| strength.set(option))?;
    Ok((name, strength))
}

/// The file that a name means: one that is called so, or else one whose training called it so.
fn file(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut files = Vec::new();
    collect(folder, &mut files)
        .with_context(|| format!("--adapter-dir: {} cannot be read", folder.display()))?;
    files.sort();
    let trained = |path: &&PathBuf| {
        let file = Checkpoint::open(path.as_path());
        file.is_ok_and(|file| file.metadata().get("ss_output_name").is_some_and(|own| own == name))
    };
    let mut meant: Vec<&PathBuf> = files.iter().filter(|path| stem(path) == name).collect();
    if meant.is_empty() {
        meant = files.iter().filter(trained).collect();
    }
    match meant[..] {
        [one] => Ok(one.clone()),
        [one, other, ..] => {
            let (one, other) = (one.display(), other.display());
            bail!("--prompt: {name} may be {one} or {other}; rename one of them")
        }
        [] => {
            let stems: Vec<String> = files.iter().map(|path| stem(path)).collect();
            let near = nearest(name, stems.iter().map(String::as_str), 3).join(", ");
            let near = if near.is_empty() { near } else { format!("; it has {near}") };
            bail!("--prompt: {} has no adapter called {name}{near}", folder.display())
        }
    }
}

/// A file's name without its ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Files of a folder and those below that may be adapters, without the checkpoints of runs and the parts of
/// whole models. Links to folders are not followed: they may lead in a circle.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if Run::is_checkpoints(folder) || folder.join(MODEL).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if ENDINGS.contains(&&*ending) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, text encoders' and UNet's strength of an adapter.
    type Named = (String, f64, f64);

    /// The prompt that is left, and the adapters.
    fn of(prompt: &str, folder: &Path) -> Result<(String, Vec<Named>), String> {
        let found = adapters(prompt, Some(folder));
        let (prompt, found) = found.map_err(|error| format!("{error:#}"))?;
        let found = found.into_iter().map(|(path, it)| (stem(&path), it.text, it.unet));
        Ok((prompt, found.collect()))
    }

    #[test]
    fn prompts_name_adapters_as_in_the_web_uis() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        for name in ["a.safetensors", "below/b c.1.safetensors", "below/note.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let of = |prompt: &str| of(prompt, folder.path());
        let s = String::from;
        assert_eq!(of("red < b: c > lily"), Ok((s("red < b: c > lily"), vec![])));
        for (named, te, unet) in [
            ("<lora:a>", 1.0, 1.0),
            ("<lyco:a:0.8>", 0.8, 0.8),
            ("<lora:a:0.8:-0.5>", 0.8, -0.5),
            ("<lora:a:te=0.5>", 0.5, 0.5),
            ("<lora:a:1:te=0.5>", 0.5, 0.5),
            ("<lora:a:1:2:te=0.5>", 0.5, 2.0),
            ("<lora:a:0.8:unet=0>", 0.8, 0.0),
        ] {
            let expected = (s("red  lily"), vec![(s("a"), te, unet)]);
            assert_eq!(of(&format!("red {named} lily")), Ok(expected), "{named}");
        }
        let two = of("<lora:b c.1:0.5><lora:a>").unwrap();
        assert_eq!(two, (s(""), vec![(s("b c.1"), 0.5, 0.5), (s("a"), 1.0, 1.0)]));
        for (named, expected) in [
            (
                "<hypernet:a:1>",
                "--prompt: <hypernet:a:1> is nothing that is read; there are <lora:",
            ),
            ("<lora:a:much>", "--prompt: <lora:a:much>: a strength is a number"),
            ("<lora:a:1:1:4>", "--prompt: <lora:a:1:1:4>: 4 is nothing that is read"),
            ("<lora:a:dyn=4>", "--prompt: <lora:a:dyn=4>: dyn=4 is no option of an adapter"),
            ("<lora:te=1>", "--prompt: <lora:te=1>: has no name"),
            ("<lora:note>", " has no adapter called note; it has a, b c.1"),
        ] {
            let error = of(named).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        // Tensors of a run that are no adapter, and of a model; other folders may be called so, too.
        for name in [
            "run/higanbana.ledger",
            "run/checkpoints/step-00000002.safetensors",
            "old/run.toml",
            "old/checkpoints/step-00000002.safetensors",
            "model/model_index.json",
            "model/unet/diffusion_pytorch_model.safetensors",
            "checkpoints/style.safetensors",
        ] {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), "").unwrap();
        }
        let error = of("<lora:step-00000002>").unwrap_err();
        assert!(
            error.ends_with("has no adapter called step-00000002; it has style, a, b c.1"),
            "{error}"
        );
        assert_eq!(of("<lora:style>").unwrap().1.len(), 1);
        let error = adapters("<lora:a>", None).unwrap_err().to_string();
        assert!(error.ends_with("give --adapter-dir DIR"), "{error}");
        fs::write(folder.path().join("below/a.safetensors"), "").unwrap();
        assert!(of("<lora:a>").unwrap_err().ends_with("; rename one of them"));
    }
}
