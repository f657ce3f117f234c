//! The two spellings of a Stable Diffusion UNet's modules: diffusers' and the original checkpoint's (LDM).

use std::collections::{BTreeMap, BTreeSet};

/// A published UNet, whose modules are known in both spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// SD 1.x and 2.x.
    Sd,
    /// SDXL base.
    Sdxl,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sd, Self::Sdxl];

    /// `(diffusers, LDM)` of every module; origin: `data/README.md`.
    pub fn unet_modules(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let table = match self {
            Self::Sd => include_str!("../../data/unet_sd15.tsv"),
            Self::Sdxl => include_str!("../../data/unet_sdxl.tsv"),
        };
        table.lines().filter_map(|line| line.split_once('\t'))
    }
}

/// For each module of a UNet its path in the other spelling, where that is certain.
#[derive(Debug, Default)]
pub(super) struct Twins {
    twin: BTreeMap<&'static str, &'static str>,
    architecture: Option<Architecture>,
}

impl Twins {
    /// Those of the architectures of which the base is a part, or which are a part of it. Where that
    /// holds for both, a module whose twin differs between them is left without one.
    pub fn of(modules: &BTreeSet<&str>, ldm: bool) -> Self {
        let mut twins = Self::default();
        let mut disputed = BTreeSet::new();
        for architecture in Architecture::ALL {
            let pairs: BTreeMap<_, _> = architecture
                .unet_modules()
                .map(
                    |(diffusers, original)| {
                        if ldm { (original, diffusers) } else { (diffusers, original) }
                    },
                )
                .collect();
            let shared = modules.iter().filter(|module| pairs.contains_key(*module)).count();
            let (part, whole) = (shared == modules.len(), shared == pairs.len());
            if shared == 0 || !(part || whole) {
                continue;
            }
            if part && whole {
                twins.architecture = Some(architecture);
            }
            for (module, twin) in pairs {
                if twins.twin.insert(module, twin).is_some_and(|other| other != twin) {
                    disputed.insert(module);
                }
            }
        }
        twins.twin.retain(|module, _| !disputed.contains(module));
        twins
    }

    pub fn get(&self, module: &str) -> Option<&'static str> {
        self.twin.get(module).copied()
    }

    /// The architecture whose modules are exactly these.
    pub fn architecture(&self) -> Option<Architecture> {
        self.architecture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_one_to_one() {
        for (architecture, rows) in [(Architecture::Sd, 391), (Architecture::Sdxl, 1050)] {
            let (diffusers, ldm): (BTreeSet<_>, BTreeSet<_>) = architecture.unet_modules().unzip();
            assert_eq!((diffusers.len(), ldm.len()), (rows, rows));
            // Names with every dot flattened stay distinct, or adapters could not be matched.
            let flat: BTreeSet<_> =
                diffusers.iter().chain(&ldm).map(|m| m.replace('.', "_")).collect();
            assert_eq!(flat.len(), 2 * rows);
        }
    }

    #[test]
    fn twins_by_hand() {
        let sd = Twins::of(&BTreeSet::from(["down_blocks.3.resnets.0.conv1", "conv_in"]), false);
        assert_eq!(sd.get("conv_in"), Some("input_blocks.0.0"));
        assert_eq!(sd.get("up_blocks.0.upsamplers.0.conv"), Some("output_blocks.2.1.conv"));
        let sdxl = Twins::of(&BTreeSet::from(["label_emb.0.2"]), true);
        assert_eq!(sdxl.get("output_blocks.2.2.conv"), Some("up_blocks.0.upsamplers.0.conv"));
    }

    #[test]
    fn a_part_of_a_unet_gets_what_both_architectures_agree_on() {
        let part = Twins::of(&BTreeSet::from(["conv_in"]), false);
        assert_eq!(part.get("conv_in"), Some("input_blocks.0.0"));
        assert_eq!(part.get("up_blocks.0.upsamplers.0.conv"), None);
    }

    #[test]
    fn an_unknown_unet_has_no_twins() {
        let other = Twins::of(&BTreeSet::from(["conv_in", "control_model.0"]), false);
        assert_eq!((other.get("conv_in"), other.architecture()), (None, None));
    }

    #[test]
    fn an_architecture_has_its_modules_no_fewer_and_no_more() {
        for architecture in Architecture::ALL {
            let (diffusers, ldm): (BTreeSet<_>, BTreeSet<_>) = architecture.unet_modules().unzip();
            for (modules, in_ldm) in [(diffusers, false), (ldm, true)] {
                let told = |modules: &BTreeSet<&str>| {
                    let twins = Twins::of(modules, in_ldm);
                    let known = modules.iter().filter(|module| twins.get(module).is_some()).count();
                    (twins.architecture(), known)
                };
                let all = modules.len();
                assert_eq!(told(&modules), (Some(architecture), all));
                for module in modules.iter().step_by(97) {
                    let fewer = modules.iter().copied().filter(|it| it != module).collect();
                    assert_eq!(told(&fewer), (None, all - 1), "without {module}");
                }
                let mut more = modules.clone();
                more.insert("adapter.conv_in");
                assert_eq!(told(&more), (None, all));
            }
        }
    }
}
