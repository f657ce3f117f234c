//! Tokens that a pipeline learns from embedding files, one by one or with an adapter.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Tensor};
use higanbana_io::{Checkpoint, Embedding, names::Component};

use super::Pipeline;
use crate::ModelError;

/// A token that a pipeline has learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// What prompts call it.
    pub token: String,
    /// Number of its vectors, each of which takes the place of a token.
    pub vectors: usize,
    /// The file that has taught it.
    pub path: PathBuf,
}

/// A token and its vectors, those of each encoder.
#[derive(Debug)]
pub(super) struct Lesson {
    token: String,
    path: PathBuf,
    vectors: Vec<Option<Tensor<2>>>,
}

impl Pipeline {
    /// Learns the tokens of embedding files, each under the name that it is given here, or else under its own.
    /// Prompts and captions may hold them then. A token of SDXL's two encoders may lie in two files.
    ///
    /// # Errors
    /// When a file cannot be read or holds no embedding, its vectors do not fit the encoders, an encoder gets
    /// none, or a token is there already; nothing is learnt then.
    pub fn learn_files(
        &mut self,
        files: &[(&Path, Option<&str>)],
    ) -> Result<Vec<Learnt>, ModelError> {
        let mut found = Vec::new();
        for (path, token) in files {
            let file = Checkpoint::open(*path)?;
            let wrong = |reason| ModelError::Config { path: path.into(), reason };
            let mut embeddings = Embedding::all(&file)?;
            let own = embeddings.first().map(|it| it.token.clone());
            let own = own.ok_or_else(|| wrong("holds no embedding".to_string()))?;
            if let Some(token) = token {
                if embeddings.iter().any(|it| it.token != own) {
                    return Err(wrong(format!("holds several tokens; leave out ={token}")));
                }
                embeddings.iter_mut().for_each(|it| it.token = token.to_string());
            }
            found.push((file, embeddings));
        }
        let found = found.iter().map(|(file, embeddings)| (file, &embeddings[..]));
        let lessons = self.lessons(found)?;
        self.take(lessons)
    }

    /// What embeddings teach, as far as that is not known already.
    pub(super) fn lessons<'a>(
        &self,
        found: impl IntoIterator<Item = (&'a Checkpoint, &'a [Embedding])>,
    ) -> Result<Vec<Lesson>, ModelError> {
        let mut lessons = BTreeMap::<String, Lesson>::new();
        for (file, embeddings) in found {
            for embedding in embeddings {
                let lesson = lessons.entry(embedding.token.clone()).or_insert_with(|| Lesson {
                    token: embedding.token.clone(),
                    path: file.path().into(),
                    vectors: vec![None; self.encoders.len()],
                });
                let encoder = self.encoder_of(file.path(), embedding, &lesson.vectors)?;
                let options = (&self.device, DType::F32);
                lesson.vectors[encoder] = Some(Tensor::from_data(embedding.read(file)?, options));
            }
        }
        let mut lessons: Vec<Lesson> = lessons.into_values().collect();
        lessons.retain(|lesson| !self.knows(lesson));
        lessons.iter().try_for_each(|lesson| self.check_lesson(lesson))?;
        Ok(lessons)
    }

    /// The encoder that vectors are for: the one that the file names, or the first of their width that has
    /// none of this token yet.
    fn encoder_of(
        &self,
        path: &Path,
        embedding: &Embedding,
        taken: &[Option<Tensor<2>>],
    ) -> Result<usize, ModelError> {
        let Embedding { token, width, .. } = embedding;
        let wrong = |reason| Err(ModelError::Config { path: path.into(), reason });
        let widths = self.encoders.iter().map(|encoder| encoder.model.config().width);
        let widths: Vec<usize> = widths.collect();
        let named = embedding.encoder.map(|it| usize::from(it == Component::TextEncoder2));
        match named {
            Some(encoder) if encoder >= widths.len() => wrong(format!(
                "is for two text encoders; this model has one, of width {}",
                widths[0]
            )),
            None if !widths.contains(width) => wrong(misfit(token, *width, &widths)),
            Some(encoder) if widths[encoder] != *width => {
                wrong(misfit(token, *width, &widths[encoder..=encoder]))
            }
            _ => {
                let is_free = |index: &usize| {
                    taken[*index].is_none()
                        && widths[*index] == *width
                        && named.is_none_or(|it| it == *index)
                };
                let free = (0..widths.len()).find(is_free);
                free.map_or_else(|| wrong(format!("token {token} is given twice; rename one")), Ok)
            }
        }
    }

    /// Whether a token was learnt with these very vectors.
    fn knows(&self, lesson: &Lesson) -> bool {
        self.encoders.iter().zip(&lesson.vectors).all(|(encoder, vectors)| {
            let numbers = encoder.tokenizer.numbers(&lesson.token);
            let known = numbers.and_then(|numbers| encoder.model.vectors(numbers.start));
            let (Some(known), Some(vectors)) = (known, vectors) else { return false };
            known.into_data() == vectors.clone().into_data()
        })
    }

    fn check_lesson(&self, lesson: &Lesson) -> Result<(), ModelError> {
        let Lesson { token, path, vectors } = lesson;
        let wrong = |reason| Err(ModelError::Config { path: path.clone(), reason });
        if let Some(index) = vectors.iter().position(Option::is_none) {
            let (number, width) = (index + 1, self.encoders[index].model.config().width);
            return wrong(format!(
                "has no vectors of {token} for text encoder {number}, of width {width}; name the file that has"
            ));
        }
        let counts = vectors.iter().flatten().map(|it| it.dims()[0]);
        match self.check_token(token, &counts.collect::<Vec<_>>()) {
            Err(ModelError::Input { name, reason }) => wrong(format!("{name} {reason}")),
            checked => checked,
        }
    }

    /// That a token can be learnt with so many vectors of each encoder.
    fn check_token(&self, token: &str, counts: &[usize]) -> Result<(), ModelError> {
        for (encoder, &count) in self.encoders.iter().zip(counts) {
            encoder.tokenizer.check_new(token)?;
            let room = encoder.model.config().positions.saturating_sub(2);
            if count == 0 || count > room || count != counts[0] {
                let reason = format!("has {count} vectors; give each encoder as many, 1 to {room}");
                return Err(ModelError::input(format!("token {token}"), reason));
            }
        }
        Ok(())
    }

    pub(super) fn take(&mut self, lessons: Vec<Lesson>) -> Result<Vec<Learnt>, ModelError> {
        let mut learnt = Vec::new();
        for Lesson { token, path, vectors } in lessons {
            let vectors: Vec<_> = vectors.into_iter().flatten().collect();
            let count = vectors.first().map_or(0, |it| it.dims()[0]);
            self.learn(&token, vectors)?;
            learnt.push(Learnt { token, vectors: count, path });
        }
        Ok(learnt)
    }

    /// Learns a token that begins with the vectors of words, over and over if it is to have more; as many as
    /// the words have tokens if nothing is said.
    ///
    /// # Errors
    /// When the words have no token or more than there are to be vectors, or the token cannot be learnt.
    pub fn learn_words(
        &mut self,
        token: &str,
        words: &str,
        mut vectors: Option<usize>,
    ) -> Result<(), ModelError> {
        let mut all = Vec::new();
        for encoder in &self.encoders {
            let known = encoder.tokenizer.tokens(words)?;
            let count = *vectors.get_or_insert(known.len());
            if known.is_empty() || known.len() > count {
                let number = known.len();
                let reason =
                    format!("{words:?} are {number} tokens; give 1 at least, {count} at most");
                return Err(ModelError::input("words", reason));
            }
            let rows: Vec<usize> = known.iter().copied().cycle().take(count).collect();
            all.push(encoder.model.vectors_of(&rows));
        }
        self.learn(token, all)
    }

    /// Learns a token of these vectors, `[vectors, width]` for each encoder.
    ///
    /// # Errors
    /// When the token is learnt already, or its vectors are too many for a text, or not equally many.
    ///
    /// # Panics
    /// When an encoder gets none, or vectors of another width.
    pub fn learn(&mut self, token: &str, vectors: Vec<Tensor<2>>) -> Result<(), ModelError> {
        let widths = self.encoders.iter().map(|encoder| encoder.model.config().width);
        assert!(widths.eq(vectors.iter().map(|it| it.dims()[1])), "vectors for each encoder");
        self.check_token(token, &vectors.iter().map(|it| it.dims()[0]).collect::<Vec<_>>())?;
        for (encoder, vectors) in self.encoders.iter_mut().zip(vectors) {
            let first = encoder.model.tokens();
            encoder.tokenizer.learn(token, first..first + vectors.dims()[0])?;
            encoder.model = encoder.model.clone().learn(vectors);
        }
        Ok(())
    }

    /// Whether a text holds a learnt token.
    pub fn holds(&self, text: &str, token: &str) -> bool {
        self.encoders.iter().any(|encoder| encoder.tokenizer.holds(text, token))
    }
}

fn misfit(token: &str, width: usize, widths: &[usize]) -> String {
    let widths: Vec<_> = widths.iter().map(usize::to_string).collect();
    format!(
        "token {token} has vectors of width {width}, the text encoder's are {}; the embedding is another model's",
        widths.join(" and ")
    )
}
