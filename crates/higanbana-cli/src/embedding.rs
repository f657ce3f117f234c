//! Embedding files on the command line.

use std::path::{Path, PathBuf};

use anyhow::Result;
use higanbana_diffusion::{Pipeline, pipeline::Learnt};

use crate::output;

/// A file, and what prompts call its token.
#[derive(Clone, Debug)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// The token, if it is not to be the file's own.
    pub token: Option<String>,
}

/// Splits `FILE=TOKEN`. Names may hold the sign: what is there under the whole name is meant.
pub fn parse(text: &str) -> Result<File, String> {
    match text.rsplit_once('=') {
        Some((path, token)) if !Path::new(text).exists() => match (path, token) {
            ("", _) => Err("name an embedding file before the token".into()),
            (_, "") => Err("name the token behind =".into()),
            _ => Ok(File { path: path.into(), token: Some(token.into()) }),
        },
        _ => Ok(File { path: text.into(), token: None }),
    }
}

/// Teaches a pipeline the tokens of files.
pub fn learn(pipeline: &mut Pipeline, files: &[File]) -> Result<Vec<Learnt>> {
    let files: Vec<_> = files.iter().map(|file| (&*file.path, file.token.as_deref())).collect();
    Ok(pipeline.learn_files(&files)?)
}

/// Says on standard error which tokens there are, and which of them no prompt holds.
pub fn tell<'a>(
    learnt: &[Learnt],
    pipeline: &Pipeline,
    prompts: impl Iterator<Item = &'a String> + Clone,
) {
    for Learnt { token, vectors, path } in learnt {
        let held = prompts.clone().any(|prompt| pipeline.holds(prompt, token));
        let held = if held { "" } else { "; no prompt holds it" };
        let vectors = output::count(*vectors, "vector");
        output::say(format!("{}: token {token}, {vectors}{held}", path.display()));
    }
}
