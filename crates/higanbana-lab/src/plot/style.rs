//! Colour, mark and dashes of a series. An algorithm has the same ones in every figure of every page.

use crate::subject::family;

/// Colours of `plot.css`, shapes of marks, and ways to dash a line.
const COLOURS: usize = 13;
const SHAPES: usize = 5;
const DASHES: usize = 6;

/// How a series is drawn: its colour and the shape of its marks go together, so that one of them is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: usize,
    dash: usize,
}

impl Style {
    /// That of the n-th of some series that are no algorithms.
    pub fn nth(n: usize) -> Self {
        Self { colour: n, dash: 0 }
    }

    /// The same with the n-th other pair of dashes: of a second series about one algorithm.
    #[must_use]
    pub fn other(self, n: usize) -> Self {
        Self { dash: self.dash + 2 * n, ..self }
    }

    /// Its classes.
    pub(super) fn class(self) -> String {
        format!("k{} d{}", self.colour % COLOURS, self.dash % DASHES)
    }

    /// The path of its mark.
    pub(super) fn mark(self, x: f64, y: f64) -> String {
        match self.colour % SHAPES {
            0 => format!("M{:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0-6 0Z", x - 3.0),
            1 => format!("M{:.1} {:.1}h5.4v5.4h-5.4Z", x - 2.7, y - 2.7),
            2 => format!("M{x:.1} {:.1}l3.7 3.7l-3.7 3.7l-3.7-3.7Z", y - 3.7),
            3 => format!("M{x:.1} {:.1}l3.6 6.2h-7.2Z", y - 3.9),
            _ => format!("M{x:.1} {:.1}l3.6-6.2h-7.2Z", y + 3.9),
        }
    }
}

/// The styles of algorithms: one colour for each [`family`], what is built upon it or an option of it dashed.
#[derive(Debug)]
pub struct Palette(Vec<String>);

impl Palette {
    /// Of the algorithms of the toolkit in the order of its registry, and after them of others among `labels`, in the
    /// order in which they come.
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a str>) -> Self {
        let registry = higanbana_adapters::registry();
        let known = registry.iter().map(|kind| kind.name());
        let mut families: Vec<String> = Vec::new();
        for name in known.chain(labels).map(family) {
            if !families.iter().any(|known| known == name) {
                families.push(name.into());
            }
        }
        Self(families)
    }

    /// The style of an algorithm; a name from elsewhere has the last.
    pub fn style(&self, label: &str) -> Style {
        let name = family(label);
        let colour = self.0.iter().position(|known| known == name).unwrap_or(self.0.len());
        Style { colour, dash: usize::from(name != label) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn algorithms_look_alike_everywhere_and_unlike_each_other() {
        let registry = higanbana_adapters::registry();
        let names: Vec<&str> = registry.iter().map(|kind| kind.name()).collect();
        let palettes =
            [Palette::new(["mine"]), Palette::new(names.iter().rev().copied().chain(["mine"]))];
        let classes = |palette: &Palette| -> Vec<String> {
            let all = names.iter().copied().chain(["mine"]);
            all.map(|name| palette.style(name).class()).collect()
        };
        assert_eq!(classes(&palettes[0]), classes(&palettes[1]));
        assert_eq!(BTreeSet::from_iter(classes(&palettes[0])).len(), names.len() + 1);
        for name in names {
            let [plain, set] = [name, &format!("{name}:set")].map(|label| palettes[0].style(label));
            assert_eq!(plain.colour, set.colour);
        }
    }
}
