//! The formulas for rank and parameters in the table of algorithms give what the code gives.

use std::{iter::Peekable, vec::IntoIter};

use burn::tensor::{DType, Device, Tensor};
use higanbana_adapters::{docs::plain_text, registry};
use higanbana_core::{Init, Kind, Site, SiteKind, Tensors};
use regex::Regex;

const RANK: usize = 4;

/// With default options, on one layer; every bound is also bounded by what the layer can have.
#[test]
fn the_formulas_hold() {
    for kind in registry().iter() {
        let site = match kind.sites().contains(&SiteKind::Conv2d) {
            true => Site::new("layer", SiteKind::Conv2d, [128, 12, 3, 3]),
            false => Site::new("layer", kind.sites()[0], [128]),
        };
        let w0 = Tensor::ones([site.out(), site.cols()], (&Device::flex(), DType::F32));
        let mut options = toml::Table::new();
        if kind.defaults().contains_key("rank") {
            options.insert("rank".into(), (RANK as i64).into());
        }
        let adapter = kind.build(&site, &options, &mut Init::new(&site, w0, 0)).unwrap();
        let tensors = adapter.write(&site);
        let value = |formula| evaluate(formula, &|name| symbol(name, kind, &site, &tensors));
        let parameters = adapter.parameter_count(&site) as f64;
        assert_eq!(value(kind.parameters()), parameters, "parameters of {}", kind.name());
        let rank = value(kind.rank()).min(site.full_rank() as f64);
        assert_eq!(rank, adapter.rank_bound(&site) as f64, "rank of {}", kind.name());
    }
}

/// What a symbol stands for; sizes that an algorithm chooses are those of its file.
fn symbol(name: &str, kind: &Kind, site: &Site, tensors: &Tensors) -> f64 {
    let size = |key: &str, axis: usize| tensors[key].shape()[axis];
    let [l, m] = [0, 1].map(|axis| tensors.get("lokr_w1").map_or(1, |w1| w1.shape()[axis]));
    let (k, n) = (site.out() / l, site.input() / m);
    let value = match name {
        "out" => site.out(),
        "in" => site.input(),
        "K" => site.taps(),
        "r" | "p" => RANK,
        // Where no tensor has this side, the blocks are of the rank, which divides both sides of the layer.
        "b" => {
            tensors.get("oft_blocks").map_or(RANK, |blocks| size("oft_blocks", blocks.rank() - 1))
        }
        "l" => l,
        "m" => m,
        "k" => k,
        "n" => n,
        "rank W_0" => site.full_rank(),
        "rank W_1" => l.min(m),
        "rank W_2" => RANK.min(k).min(n * site.taps()),
        "inner" => {
            let (inner, _) = kind.name().split_once('+').expect("a composition");
            let inner = registry().get(inner).expect("an algorithm").parameters();
            return evaluate(inner, &|name| symbol(name, kind, site, tensors));
        }
        _ => panic!("{}: what is {name}?", kind.name()),
    };
    value as f64
}

/// Sums, differences, products, quotients, powers, `min`, `log_2` and floors; what stands together multiplies.
fn evaluate(latex: &str, symbol: &dyn Fn(&str) -> f64) -> f64 {
    let ascii = [("₀", "_0"), ("₁", "_1"), ("₂", "_2"), ("²", "^2")];
    let text = ascii.iter().fold(plain_text(latex), |text, (of, as_is)| text.replace(of, as_is));
    let token = Regex::new(r"rank W_\d|\d+|[a-zA-Z]\w*|\S").unwrap();
    let mut tokens =
        token.find_iter(&text).map(|m| m.as_str()).collect::<Vec<_>>().into_iter().peekable();
    let value = sum(&mut tokens, symbol);
    assert_eq!(tokens.next(), None, "{latex}");
    value
}

type Tokens<'t> = Peekable<IntoIter<&'t str>>;

fn sum(tokens: &mut Tokens, symbol: &dyn Fn(&str) -> f64) -> f64 {
    let mut value = product(tokens, symbol);
    while let Some(sign) = tokens.next_if(|next| ["+", "-"].contains(next)) {
        let next = product(tokens, symbol);
        value += if sign == "-" { -next } else { next };
    }
    value
}

fn product(tokens: &mut Tokens, symbol: &dyn Fn(&str) -> f64) -> f64 {
    let mut value = power(tokens, symbol);
    while let Some(next) = tokens.next_if(|next| !["+", "-", ",", ")", "⌋"].contains(next)) {
        value = match next {
            "/" => value / power(tokens, symbol),
            "·" => value * power(tokens, symbol),
            first => value * power_of(first, tokens, symbol),
        };
    }
    value
}

fn power(tokens: &mut Tokens, symbol: &dyn Fn(&str) -> f64) -> f64 {
    let first = tokens.next().expect("a value");
    power_of(first, tokens, symbol)
}

fn power_of(first: &str, tokens: &mut Tokens, symbol: &dyn Fn(&str) -> f64) -> f64 {
    let value = match first {
        "(" => inside(tokens, symbol)[0],
        "⌊" => inside(tokens, symbol)[0].floor(),
        "log_2" | "min" => {
            tokens.next_if_eq(&"(").expect("arguments");
            let values = inside(tokens, symbol);
            if first == "min" { values[0].min(values[1]) } else { values[0].log2() }
        }
        name => name.parse().unwrap_or_else(|_| symbol(name)),
    };
    match tokens.next_if_eq(&"^") {
        Some(_) => value.powf(power(tokens, symbol)),
        None => value,
    }
}

/// The sums up to the closing parenthesis.
fn inside(tokens: &mut Tokens, symbol: &dyn Fn(&str) -> f64) -> Vec<f64> {
    let mut values = vec![sum(tokens, symbol)];
    while tokens.next().expect("an end") == "," {
        values.push(sum(tokens, symbol));
    }
    values
}

#[test]
fn formulas_are_read_as_they_are_meant() {
    let value = |formula| evaluate(formula, &|name| f64::from(name.len() as u32));
    assert_eq!(value(r"2r(out + in\,K)"), 2.0 * (3.0 + 2.0));
    assert_eq!(value(r"\min(2\lfloor out/2 \rfloor\,in/K, 9)"), 4.0);
    assert_eq!(value(r"out^2 \cdot (\log_2(in/K) + 1)"), 18.0);
    assert_eq!(value(r"\operatorname{rank} W_1 \operatorname{rank} W_2"), 64.0);
}
