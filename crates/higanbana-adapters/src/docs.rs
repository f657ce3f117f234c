//! The table of algorithms, for the terminal and the README.

use burn::tensor::{Device, Tensor};
use higanbana_core::{Init, Kind, Registry, Site};

/// Homogeneity degree of an algorithm with its default options, on a layer 128 → 16.
pub fn degree(kind: &Kind) -> String {
    let shape = if kind.sites()[0].is_vector() { vec![16] } else { vec![16, 128] };
    let site = Site::new("example", kind.sites()[0], shape);
    let weight = Tensor::ones([site.out(), site.cols()], &Device::default());
    let adapter = kind.build(&site, &toml::Table::new(), &mut Init::new(&site, weight, 0));
    adapter.map_or_else(|error| error.to_string(), |adapter| adapter.degree().to_string())
}

/// The table of the README.
pub fn markdown_table(registry: &Registry) -> String {
    let mut table = String::from(
        "| name | update | degree | rank at most | parameters | source |\n\
         |---|---|---|---|---|---|\n",
    );
    for kind in registry.iter() {
        table += &format!(
            "| `{}` | ${}$ | {} | ${}$ | ${}$ | {} |\n",
            kind.name(),
            kind.formula(),
            degree(kind),
            kind.rank(),
            kind.parameters(),
            kind.reference(),
        );
    }
    table
}

/// LaTeX as a terminal can show it.
pub fn plain_text(latex: &str) -> String {
    let mut text = latex.to_string();
    for (command, symbol) in COMMANDS {
        text = text.replace(command, symbol);
    }
    text = fractions(&text);
    text.retain(|c| !matches!(c, '{' | '}' | '$' | '\\'));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `\frac{a}{b}` as `a/b`.
fn fractions(text: &str) -> String {
    let Some((before, rest)) = text.split_once(r"\frac{") else { return text.into() };
    let Some((above, rest)) = rest.split_once("}{") else { return text.into() };
    let Some((below, after)) = rest.split_once('}') else { return text.into() };
    format!("{before}{above}/{below} {}", fractions(after))
}

/// Longer commands before those that they begin with.
const COMMANDS: &[(&str, &str)] = &[
    (r"\operatorname", ""),
    (r"\mathrm", ""),
    (r"\left", ""),
    (r"\right", ""),
    (r"\lfloor", "⌊"),
    (r"\rfloor", "⌋"),
    (r"\cdots", "⋯"),
    (r"\circ", "∘"),
    (r"\tilde", ""),
    (r"\lVert", "‖"),
    (r"\rVert", "‖"),
    (r"\alpha", "α"),
    (r"\lambda", "λ"),
    (r"\Lambda", "Λ"),
    (r"\Delta", "Δ"),
    (r"\sigma", "σ"),
    (r"\gamma", "γ"),
    (r"\otimes", "⊗"),
    (r"\odot", "⊙"),
    (r"\times", "×"),
    (r"\cdot", "·"),
    (r"\prod", "∏"),
    (r"\sum", "Σ"),
    (r"\sqrt", "√"),
    (r"\min", "min"),
    (r"\max", "max"),
    (r"\log", "log"),
    (r"\top", "T"),
    (r"\quad", " "),
    (r"\dots", "…"),
    (r"\ell", "ℓ"),
    (r"\,", " "),
    (r"\;", " "),
    (r"\!", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latex_becomes_readable() {
        assert_eq!(plain_text(r"\frac{\alpha}{r} B A"), "α/r B A");
        assert_eq!(plain_text(r"r(out + in\,K)"), "r(out + in K)");
    }
}
