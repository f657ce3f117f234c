//! A pipeline's models into a folder, as diffusers saves it.

use std::path::Path;

use burn::tensor::DType;
use higanbana_io::writer;

use super::{Pipeline, SCHEDULER};
use crate::{
    ModelError,
    layout::{copy_configs, copy_files, write},
    schedulers::SchedulerConfig,
    weights::{Part, save},
};

impl Pipeline {
    /// Writes the UNet, the text encoders and the scheduler as they are now into a new folder; the rest is
    /// that of the folder which the pipeline was read from.
    ///
    /// # Errors
    /// When that is a single file, a weight is not finite, or the new folder exists or cannot be written.
    pub fn save(&self, folder: &Path, dtype: DType) -> Result<(), ModelError> {
        let output = writer::Folder::new(folder)?;
        self.fill(output.path(), dtype)?;
        Ok(output.commit()?)
    }

    /// [`Self::save`] into a folder that is there and empty.
    ///
    /// # Errors
    /// As there; what is written until then stays.
    pub fn fill(&self, to: &Path, dtype: DType) -> Result<(), ModelError> {
        let from = &self.path;
        copy_configs(from, to)?;
        if SchedulerConfig::read(&from.join(SCHEDULER))? != self.scheduler {
            write(&to.join(SCHEDULER), &self.scheduler.text())?;
        }
        if self.vae.is_some() {
            copy_files(&from.join(Part::Vae.folder()), &to.join(Part::Vae.folder()))?;
        }
        let file = |part: Part| to.join(part.folder()).join(part.file());
        save(&self.unet, &file(Part::Unet), dtype)?;
        for (encoder, part) in self.encoders.iter().zip([Part::TextEncoder, Part::TextEncoder2]) {
            save(&encoder.model, &file(part), dtype)?;
            copy_files(&from.join(part.tokenizer()), &to.join(part.tokenizer()))?;
        }
        Ok(())
    }
}
