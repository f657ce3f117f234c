//! A model in the other layout: a directory of diffusers as a single file, and the way back.
//!
//! The tensors pass one by one from file to file, each as the same bytes unless another element type is
//! asked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use burn::module::Module;
use higanbana_core::device::cpu;
use higanbana_io::{Checkpoint, FileError, writer};

use crate::{
    AutoencoderKL, CLIPTextModel, ModelError, UNet2DConditionModel, Weights,
    config::Fields,
    pipeline::{ENCODERS, INDEX, PIXELS, Published, SCHEDULER, UNET, VAE},
    text::Tokenizer,
    weights::{Family, Part, Saving, check, save_single, table},
};

/// Writes a model directory as a single file.
///
/// The file holds tensors alone: no scheduler, no tokenizer, and of SD 2 not whether it predicts noise
/// or velocity.
///
/// # Errors
/// When the directory is not that of a family with a single-file form, a tensor is missing, does not
/// fit or has no name there, or the file exists or cannot be written.
pub fn to_file(folder: &Path, file: &Path, saving: &Saving) -> Result<Family, ModelError> {
    let none = || ModelError::Config {
        path: folder.into(),
        reason: "is none of SD 1, SD 2 and SDXL, which alone have a form as a single file".into(),
    };
    if Fields::open(&folder.join(INDEX)).is_ok_and(|index| index.class() == Some(PIXELS)) {
        return Err(none());
    }
    let published = Published::read(folder)?;
    let family = Family::of_models(&published).ok_or_else(none)?;
    let mut parts = Vec::new();
    for part in family.parts() {
        let within = folder.join(part.folder());
        let weights = match part {
            Part::Unet => UNet2DConditionModel::weights(&within)?,
            Part::Vae => AutoencoderKL::weights(&within)?,
            Part::TextEncoder | Part::TextEncoder2 => CLIPTextModel::weights(&within)?,
        };
        check(&tensors(*part, &published), &weights)?;
        parts.push((*part, weights));
    }
    let parts: Vec<(Part, &Weights)> =
        parts.iter().map(|(part, weights)| (*part, weights)).collect();
    save_single(family, &parts, file, saving)?;
    Ok(family)
}

/// Writes a single file as a model directory, with the configurations of the published model or of the
/// directory `config`.
///
/// # Errors
/// When the file is that of another model, a tensor is missing or does not fit, or the directory is
/// there already or cannot be written.
pub fn to_folder(
    file: &Path,
    folder: &Path,
    config: Option<&Path>,
    saving: &Saving,
) -> Result<Family, ModelError> {
    let family = Family::of(&Checkpoint::open(file)?)?;
    let published = Published::of_file(family, config)?;
    let output = writer::Folder::new(folder)?;
    let within = |name: &str| output.path().join(name);
    match config {
        Some(config) => copy_configs(config, output.path())?,
        None => {
            for (name, text) in Published::files(family) {
                write(&within(&name), &text)?;
            }
        }
    }
    for part in family.parts() {
        let tensors = tensors(*part, &published);
        let weights = family.weights(*part, file, &tensors)?;
        check(&tensors, &weights)?;
        weights.save(&within(part.folder()).join(part.file()), saving)?;
    }
    for part in family.encoders() {
        let tokenizer = within(part.tokenizer());
        let given = config.map(|config| config.join(part.tokenizer()));
        match given.filter(|given| given.exists()) {
            Some(given) => copy_files(&given, &tokenizer)?,
            None => {
                for (name, text) in Tokenizer::files(family.padding(*part)) {
                    write(&tokenizer.join(name), &text)?;
                }
            }
        }
    }
    output.commit()?;
    Ok(family)
}

/// The tensors that a part has.
fn tensors(part: Part, published: &Published) -> Vec<crate::weights::Tensor> {
    fn of(model: impl Module) -> Vec<crate::weights::Tensor> {
        table(&model)
    }
    let device = cpu();
    match part {
        Part::Unet => of(UNet2DConditionModel::new(&published.unet, &device)),
        Part::Vae => of(AutoencoderKL::new(&published.vae, &device)),
        Part::TextEncoder => of(CLIPTextModel::new(&published.encoders[0], &device)),
        Part::TextEncoder2 => of(CLIPTextModel::new(&published.encoders[1], &device)),
    }
}

/// The configurations of a model directory.
pub(crate) fn copy_configs(from: &Path, to: &Path) -> Result<(), ModelError> {
    for name in [INDEX, UNET, VAE, ENCODERS[0], ENCODERS[1], SCHEDULER] {
        if from.join(name).exists() {
            copy(&from.join(name), &to.join(name))?;
        }
    }
    Ok(())
}

/// The files of a folder, without folders in it.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<(), ModelError> {
    let read = |source| ModelError::Read { path: from.into(), source };
    for entry in fs::read_dir(from).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), ModelError> {
    let bytes = fs::read(from).map_err(|source| ModelError::Read { path: from.into(), source })?;
    put(to, &bytes)
}

pub(crate) fn write(to: &Path, text: &str) -> Result<(), ModelError> {
    put(to, text.as_bytes())
}

/// Writes a file of a folder that is under way, with the folders that it is in.
fn put(to: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let put = |to: &Path| -> io::Result<()> {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(to, bytes)
    };
    put(to).map_err(|source| FileError::Write { path: PathBuf::from(to), source }.into())
}
