//! The table of algorithms, for the terminal and the README.

use higanbana_core::{Kind, Registry};

/// Homogeneity degree of an algorithm with its default options.
pub fn degree(kind: &Kind) -> String {
    kind.degree().map_or_else(|error| error.to_string(), |degree| degree.to_string())
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
    text = scripts(&fractions(&text));
    text.retain(|c| !matches!(c, '{' | '}' | '$' | '\\'));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `_{...}`, `_x`, `^{...}` and `^x`: digits and short indices as Unicode has them, slices and sizes in
/// brackets.
fn scripts(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['_', '^']) {
        let (before, marked) = rest.split_at(at);
        let (mark, script) = marked.split_at(1);
        let braced = script.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let one = || script.split_at(script.chars().next().map_or(0, char::len_utf8));
        let (script, after) = braced.unwrap_or_else(one);
        done += before;
        if script.contains([':', '×']) {
            let size = script.replace(' ', "").replace(',', ", ");
            done = format!("{}[{size}]", bare(&done));
        } else {
            let table = if mark == "_" { SUBSCRIPTS } else { SUPERSCRIPTS };
            let small = |c| table.iter().find(|(plain, _)| *plain == c).map(|(_, small)| *small);
            let small = script.chars().map(small).collect::<Option<String>>();
            done += &small.unwrap_or_else(|| format!("{mark}{script}"));
        }
        rest = after;
    }
    done + rest
}

/// `... (W)` as `... W`: the brackets of a size do for those of a name.
fn bare(text: &str) -> String {
    let inner = text.strip_suffix(')').and_then(|text| text.rsplit_once('('));
    match inner {
        Some((before, name)) if !name.contains(' ') => format!("{before}{name}"),
        _ => text.into(),
    }
}

const SUBSCRIPTS: &[(char, &str)] =
    &[('0', "₀"), ('1', "₁"), ('2', "₂"), ('m', "ₘ"), ('t', "ₜ"), ('-', "₋")];

const SUPERSCRIPTS: &[(char, &str)] = &[('1', "¹"), ('2', "²"), ('-', "⁻"), ('T', "ᵀ")];

/// `\frac{a}{b}` as `a/b`.
fn fractions(text: &str) -> String {
    let Some((before, rest)) = text.split_once(r"\frac{") else { return text.into() };
    let Some((above, rest)) = rest.split_once("}{") else { return text.into() };
    let Some((below, after)) = rest.split_once('}') else { return text.into() };
    format!("{before}{above}/{below} {}", fractions(after))
}

/// Longer commands before those that they begin with. What is enclosed stands close.
const COMMANDS: &[(&str, &str)] = &[
    (r"\operatorname", ""),
    (r"\mathrm", ""),
    (r"\left", ""),
    (r"\right", ""),
    (r"\lfloor ", "⌊"),
    (r" \rfloor", "⌋"),
    (r"\cdots", "⋯"),
    (r"\circ", "∘"),
    (r"\tilde", ""),
    (r"\lVert ", "‖"),
    (r" \rVert", "‖"),
    (r"\alpha", "α"),
    (r"\lambda", "λ"),
    (r"\Lambda", "Λ"),
    (r"\Delta ", "Δ"),
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
        assert_eq!(
            plain_text(r"\frac{\alpha}{r} (W_1)_{l \times m} \otimes (W_2)_{k \times n K}"),
            "α/r W₁[l×m] ⊗ W₂[k×nK]"
        );
        assert_eq!(plain_text(r"B_{:,:p} A_{:p,:}"), "B[:, :p] A[:p, :]");
        assert_eq!(
            plain_text(r"\operatorname{diag}(m/\lVert V \rVert)\,V, \Delta W_{inner}"),
            "diag(m/‖V‖) V, ΔW_inner"
        );
        assert_eq!(
            plain_text(r"R^\top W_0,\; R = (I - Q)^{-1} \tilde R_{m-1} \cdots \tilde R_0"),
            "Rᵀ W₀, R = (I - Q)⁻¹ Rₘ₋₁ ⋯ R₀"
        );
        assert_eq!(
            plain_text(r"2\lfloor b/2 \rfloor\,out/b + \log_2(out/b)"),
            "2⌊b/2⌋ out/b + log₂(out/b)"
        );
    }
}
