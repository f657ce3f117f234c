//! A module's name in another dialect. A module is a model and a path within it: a dialect that cannot
//! tell two modules apart, or to which a model is not known, refuses.

use std::path::Path;

use super::Dialect;
use crate::{
    FileError,
    names::{
        Architecture, Component, Joint, Names, PEFT, Paths, Prefix, Target, flat, is_original,
        kohya, lycoris_name,
    },
};

/// A module as all dialects can spell it.
#[derive(Debug)]
pub(super) struct Spot {
    /// Its model, where that is known.
    pub component: Option<Component>,
    path: Option<String>,
    ldm: Option<String>,
    /// The path without its dots, where these are not known.
    flat: Option<String>,
}

impl Spot {
    pub fn of(target: &Target) -> Self {
        let (path, ldm) = (target.path.clone(), target.ldm.clone());
        Self { component: Some(target.component), path, ldm, flat: None }
    }

    /// What a name says without the model.
    fn told(name: &str) -> Option<Self> {
        let (prefix, path) = Prefix::split(name)?;
        let told = Self { component: prefix.model, path: None, ldm: None, flat: None };
        let is_theirs = prefix.paths == Paths::Original || is_original(path);
        let path = Some(path.to_string());
        Some(match prefix.joint {
            Joint::Underscore => Self { flat: path, ..told },
            Joint::Dot if is_theirs => {
                Self { component: told.component.or(Some(Component::Unet)), ldm: path, ..told }
            }
            Joint::Dot => Self { path, ..told },
        })
    }

    fn either(&self) -> Option<&str> {
        self.path.as_deref().or(self.ldm.as_deref())
    }
}

/// Translates the module names of one file, or, for a file that is to be, those of a base.
pub(super) struct Translator<'a> {
    file: &'a Path,
    names: Option<&'a Names>,
    to: Dialect,
    /// Whether the names are those of the base, and not of a published model that fits.
    is_base: bool,
    /// Whether the file, or the base, tells that there are two text encoders.
    has_two: bool,
}

impl<'a> Translator<'a> {
    /// By the names of a base.
    pub fn new(file: &'a Path, names: &'a Names, to: Dialect) -> Self {
        let has_two = has_two(names);
        Self { file, names: Some(names), to, is_base: true, has_two }
    }

    /// By the names of the file's `modules` alone, and of a published model, if it has them all.
    pub fn alone<'m>(
        file: &'a Path,
        published: Option<&'a Names>,
        to: Dialect,
        mut modules: impl Iterator<Item = &'m str>,
    ) -> Self {
        let tells = |name: &str| {
            let model = Prefix::split(name).and_then(|(prefix, _)| prefix.model);
            model == Some(Component::TextEncoder2) || name.starts_with(kohya::TEXT_ENCODER_1)
        };
        let has_two = published.is_some_and(has_two) || modules.any(tells);
        Self { file, names: published, to, is_base: false, has_two }
    }

    /// What a module of the file is, if its name tells that.
    ///
    /// # Errors
    /// When the base has no such module, or two.
    pub fn locate(&self, module: &str) -> Result<Option<Spot>, FileError> {
        match self.names {
            Some(names) => match names.expect(module) {
                Ok(target) => {
                    Ok(Some(Spot { component: self.model(module, target), ..Spot::of(target) }))
                }
                Err(error) => {
                    let (path, module) = (self.file.into(), module.into());
                    Err(FileError::Name { path, module, error })
                }
            },
            None => Ok(Spot::told(module)),
        }
    }

    /// The model of a module: a path alone does not tell which text encoder's it is.
    fn model(&self, module: &str, target: &Target) -> Option<Component> {
        let is_path =
            |(prefix, _): (&Prefix, _)| prefix.model.is_none() && prefix.joint == Joint::Dot;
        let is_open = !self.is_base && Prefix::split(module).is_some_and(is_path);
        Some(target.component).filter(|it| *it == Component::Unet || !is_open)
    }

    /// The module's name in the dialect. One that it has already stays as it is where no base tells
    /// otherwise.
    ///
    /// # Errors
    /// When the dialect has none, or which is not known.
    pub fn name(&self, module: &str, spot: Option<&Spot>) -> Result<String, FileError> {
        let unknown = |remedy| FileError::NoSpelling {
            path: self.file.into(),
            module: module.into(),
            dialect: self.to.name(),
            remedy,
        };
        let Some(spot) = spot else { return Err(unknown(NO_PREFIX)) };
        if !self.is_base && self.is_own(module, spot) {
            return Ok(module.into());
        }
        if spot.component == Some(Component::T5) {
            return Err(unknown(OF_T5));
        }
        let encoders = [Some(Component::TextEncoder), Some(Component::TextEncoder2)];
        match self.to {
            Dialect::Lycoris if self.has_two && encoders.contains(&spot.component) => {
                Err(unknown(TWO_ENCODERS))
            }
            Dialect::Lycoris => Ok(match (&spot.flat, spot.either()) {
                (Some(flat), _) => format!("lycoris_{flat}"),
                (None, path) => lycoris_name(path.unwrap_or(module)),
            }),
            Dialect::Kohya => {
                let prefix = self.kohya_prefix(module, spot).map_err(unknown)?;
                let path = self.original(spot).or(spot.either()).unwrap_or(module);
                Ok(format!("{prefix}{}", spot.flat.clone().unwrap_or_else(|| flat(path))))
            }
            Dialect::Diffusers => {
                let path = self.dotted(spot).map_err(unknown)?;
                let component = spot.component.ok_or_else(|| unknown(NO_MODEL))?;
                Ok(format!("{}{path}", diffusers_prefix(component)))
            }
            Dialect::Peft => {
                Ok(format!("{PEFT}{}", spot.either().ok_or_else(|| unknown(NO_DOTS))?))
            }
        }
    }

    /// Whether a name is one of the dialect.
    fn is_own(&self, module: &str, spot: &Spot) -> bool {
        let Some((prefix, path)) = Prefix::split(module) else { return false };
        match self.to {
            Dialect::Lycoris => prefix.text == "lycoris_",
            Dialect::Kohya => prefix.joint == Joint::Underscore && prefix.model.is_some(),
            Dialect::Peft => prefix.text == PEFT,
            Dialect::Diffusers => {
                // The text encoder's outermost module may be left out.
                let is_path = spot.path.as_deref().is_some_and(|it| it.ends_with(path));
                is_path && spot.component.map(diffusers_prefix) == Some(prefix.text)
            }
        }
    }

    /// A path with dots, as diffusers has it.
    fn dotted<'s>(&self, spot: &'s Spot) -> Result<&'s str, &'static str> {
        spot.path.as_deref().ok_or(match &spot.ldm {
            None => NO_DOTS,
            Some(_) if self.is_base => NOT_THERE,
            Some(_) => ORIGINAL_ONLY,
        })
    }

    /// kohya's trainer for SDXL keeps the original UNet, that for SD 1 and 2 has diffusers'. What else
    /// there is, is made with diffusers, and found by the names of its modules there.
    fn original<'s>(&self, spot: &'s Spot) -> Option<&'s str> {
        let sdxl = self.names?.architecture() == Some(Architecture::Sdxl);
        spot.ldm.as_deref().filter(|_| sdxl)
    }

    fn kohya_prefix(&self, module: &str, spot: &Spot) -> Result<&'static str, &'static str> {
        Ok(match spot.component {
            // LyCORIS's own names do not tell: a text encoder's path does, and what is left is the UNet's.
            None if module.starts_with("lycoris_text_model_") => kohya::TEXT_ENCODER,
            None if spot.flat.is_some() => kohya::UNET,
            None => return Err(NO_MODEL),
            Some(Component::Model) if !self.is_base && spot.path.is_some() => return Err(THEIRS),
            Some(Component::Unet | Component::Model) => kohya::UNET,
            Some(Component::TextEncoder) if self.has_two => kohya::TEXT_ENCODER_1,
            Some(Component::TextEncoder) => kohya::TEXT_ENCODER,
            Some(Component::TextEncoder2) => kohya::TEXT_ENCODER_2,
            Some(Component::T5) => return Err(OF_T5),
        })
    }
}

fn has_two(names: &Names) -> bool {
    names.has(Component::TextEncoder) && names.has(Component::TextEncoder2)
}

/// Remedies for a name that cannot be told.
const NO_PREFIX: &str = "it begins with no prefix that is known, name the model with --base FILE";
const NO_MODEL: &str = "its own does not tell which model it is of, name that with --base FILE";
const NO_DOTS: &str = "name the model with --base FILE";
const ORIGINAL_ONLY: &str =
    "its own is the original code's, name the model as diffusers has it with --base FILE";
const THEIRS: &str = "kohya's files have those of the original code, choose --to lycoris, or name that with --base FILE";
const OF_T5: &str =
    "it is T5's, which every model calls otherwise; resize, which renames nothing, keeps it";
const NOT_THERE: &str = "diffusers has no such module, choose --to lycoris or --to kohya";
const TWO_ENCODERS: &str =
    "LyCORIS has one for either text encoder, choose --to kohya or --to diffusers";

fn diffusers_prefix(component: Component) -> &'static str {
    match component {
        Component::Unet => "unet.",
        Component::TextEncoder => "text_encoder.",
        Component::TextEncoder2 => "text_encoder_2.",
        Component::T5 => "text_encoder_3.",
        Component::Model => "transformer.",
    }
}
