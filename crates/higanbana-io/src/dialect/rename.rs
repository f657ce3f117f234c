//! A module's name in another dialect.

use std::path::Path;

use super::Dialect;
use crate::{
    FileError,
    names::{Architecture, Component, Names, PEFT, Target, flat, kohya, lycoris_name},
};

/// Prefixes of dotted names and what follows them.
const DOTTED: [(&str, Component); 7] = [
    (PEFT, Component::Model),
    ("unet.", Component::Unet),
    ("text_encoder_2.", Component::TextEncoder2),
    ("text_encoder.", Component::TextEncoder),
    ("diffusion_model.", Component::Unet),
    ("transformer.", Component::Model),
    ("", Component::Model),
];

/// A module as all dialects can spell it.
pub(super) struct Spot {
    pub component: Component,
    path: Option<String>,
    ldm: Option<String>,
}

impl Spot {
    pub fn of(target: &Target) -> Self {
        let (path, ldm) = (target.path.clone(), target.ldm.clone());
        Self { component: target.component, path, ldm }
    }
}

/// Translates the module names of one file, or, for a file that is to be, those of a base.
pub(super) struct Translator<'a> {
    file: &'a Path,
    names: Option<&'a Names>,
    to: Dialect,
}

impl<'a> Translator<'a> {
    pub fn new(file: &'a Path, names: Option<&'a Names>, to: Dialect) -> Self {
        Self { file, names, to }
    }

    /// What a module of the file is: by the base's names, or by its own if it is dotted.
    pub fn locate(&self, module: &str) -> Result<Option<Spot>, FileError> {
        if let Some(names) = self.names {
            let target = names.expect(module).map_err(|error| {
                let (path, module) = (self.file.into(), module.into());
                FileError::Name { path, module, error }
            });
            return Ok(Some(Spot::of(target?)));
        }
        if !module.contains('.') {
            return Ok(None);
        }
        let found = DOTTED.iter().find_map(|(p, c)| Some((*c, module.strip_prefix(p)?)));
        Ok(found.map(|(component, path)| Spot { component, path: Some(path.into()), ldm: None }))
    }

    /// The module's name in the dialect.
    pub fn name(&self, module: &str, spot: Option<&Spot>) -> Result<String, FileError> {
        let unknown = |remedy| FileError::NoSpelling {
            path: self.file.into(),
            module: module.into(),
            dialect: self.to.name(),
            remedy,
        };
        let Some(spot) = spot else {
            return self
                .swap_prefix(module)
                .ok_or_else(|| unknown("name the model with --base FILE"));
        };
        let path = || {
            spot.path.as_deref().ok_or_else(|| {
                unknown("diffusers has no such module, choose --to lycoris or --to kohya")
            })
        };
        let either = spot.path.as_deref().or(spot.ldm.as_deref());
        Ok(match self.to {
            Dialect::Lycoris => lycoris_name(either.unwrap_or(module)),
            Dialect::Kohya => {
                let path = self.original(spot).or(either).unwrap_or(module);
                format!("{}{}", self.kohya_prefix(spot.component), flat(path))
            }
            Dialect::Diffusers => format!("{}{}", diffusers_prefix(spot.component), path()?),
            Dialect::Peft => format!("{PEFT}{}", path()?),
        })
    }

    /// kohya's trainer for SDXL keeps the original UNet, that for SD 1 and 2 has diffusers'. What else
    /// there is, is made with diffusers, and found by the names of its modules there.
    fn original<'s>(&self, spot: &'s Spot) -> Option<&'s str> {
        let sdxl = self.names?.architecture() == Some(Architecture::Sdxl);
        spot.ldm.as_deref().filter(|_| sdxl)
    }

    fn kohya_prefix(&self, component: Component) -> &'static str {
        let two = self.names.is_some_and(|names| names.has(Component::TextEncoder2));
        match component {
            Component::Unet | Component::Model => kohya::UNET,
            Component::TextEncoder if two => kohya::TEXT_ENCODER_1,
            Component::TextEncoder => kohya::TEXT_ENCODER,
            Component::TextEncoder2 => kohya::TEXT_ENCODER_2,
        }
    }

    /// Between the two flattened dialects the path stays as it is.
    fn swap_prefix(&self, module: &str) -> Option<String> {
        let prefixes =
            [kohya::UNET, kohya::TEXT_ENCODER, kohya::TEXT_ENCODER_1, kohya::TEXT_ENCODER_2];
        let below = prefixes.iter().find_map(|prefix| module.strip_prefix(prefix));
        match (self.to, below, module.strip_prefix("lycoris_")) {
            (Dialect::Kohya, Some(_), _) | (Dialect::Lycoris, _, Some(_)) => Some(module.into()),
            (Dialect::Lycoris, Some(path), _) => Some(format!("lycoris_{path}")),
            (Dialect::Kohya, _, Some(path)) if path.starts_with("text_model_") => {
                Some(format!("{}{path}", kohya::TEXT_ENCODER))
            }
            (Dialect::Kohya, _, Some(path)) => Some(format!("{}{path}", kohya::UNET)),
            _ => None,
        }
    }
}

fn diffusers_prefix(component: Component) -> &'static str {
    match component {
        Component::Unet => "unet.",
        Component::TextEncoder => "text_encoder.",
        Component::TextEncoder2 => "text_encoder_2.",
        Component::Model => "transformer.",
    }
}
