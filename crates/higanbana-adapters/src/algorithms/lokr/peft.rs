//! LoKr as PEFT holds it: these tensors, whose shapes follow from a few options of the whole file.
//!
//! PEFT splits the sizes of each layer by one `decompose_factor`, keeps a factor whole where the rank
//! is half of its larger side or more, and scales the update by $\alpha/r$ in any case; LyCORIS does
//! not where both factors are whole. So such a module gets a rank that keeps it whole, and an alpha
//! that is the rank times the scale that it has.

use higanbana_core::{
    Parts, PeftForm,
    peft::{Acts, Configured, Meaning, NotHeld, PeftModule},
};
use serde_json::{Value, json};

use super::scale_of_whole;
use crate::peft::{core_shape, expect_cores, meaning, options, scale};

const CORE: &str = "lokr_t2";
const KEYS: [&str; 7] =
    ["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", CORE];

/// The form of PEFT 0.21.
#[derive(Debug)]
pub struct Form;

impl PeftForm for Form {
    fn name(&self) -> &'static str {
        "LOKR"
    }

    fn tensors(&self) -> &'static [&'static str] {
        &KEYS
    }

    fn meaning(&self, option: &str, _value: &Value) -> Meaning {
        meaning(option, &["decompose_both", "decompose_factor", "rank_dropout_scale"])
    }

    fn their_shape(&self, key: &str, shape: &[usize]) -> Vec<usize> {
        if key == CORE { core_shape(shape) } else { shape.into() }
    }

    fn write(&self, modules: &[Parts]) -> Result<Configured, NotHeld> {
        let factors = modules.iter().map(Factors::of).collect::<Result<Vec<_>, _>>()?;
        let sizes = |it: &Factors| it.w1.into_iter().chain(it.w2).max().unwrap_or(1);
        let whole = factors.iter().filter(|it| it.rank.is_none()).map(sizes).max().unwrap_or(1);
        let both = factors.iter().any(|it| it.is_thin[0]);
        let factor = factor(modules, &factors, whole, both)?;
        let scales = modules.iter().zip(&factors).map(|(module, factors)| match factors.rank {
            Some(rank) => scale(module, rank),
            None => {
                let scale = scale_of_whole(module).map_err(|error| NotHeld::new(module, error))?;
                Ok((whole, whole as f64 * scale.value()))
            }
        });
        let mut all = vec![
            ("decompose_both", json!(both)),
            ("decompose_factor", factor.map_or(json!(-1), |factor| json!(factor))),
            ("rank_dropout_scale", json!(false)),
        ];
        all.extend(options(modules.iter().any(|module| module.has(CORE))));
        Ok(Configured { scales: scales.collect::<Result<_, _>>()?, options: all })
    }

    /// Two whole factors have no alpha here: what PEFT scales them by goes into the first.
    fn read(&self, module: &PeftModule) -> Result<Acts, &'static str> {
        let [w1, w2] = ["lokr_w1", "lokr_w2"].map(|key| module.shape(key));
        if !matches!(w2.len(), 0 | 2 | 4) {
            return Err(
                "lokr_w2 is whole and of a kernel with one axis or three, which PEFT multiplies by \
                 lokr_w1 along other axes; merge it with PEFT",
            );
        }
        if w1.is_empty() || w2.is_empty() {
            return Ok(Acts { alpha: module.alpha, ..Acts::default() });
        }
        let scale = module.alpha.zip(module.rank).map(|(alpha, rank)| alpha / rank);
        Ok(Acts { factor: scale.map(|scale| ("lokr_w1", scale)), ..Acts::default() })
    }
}

/// The shapes of a module's factors.
///
/// ```text
/// w1 [l, m]             or  w1_a [l, r]   w1_b [r, m]
/// w2 [k, n, taps..]     or  w2_a [k, r]   w2_b [r, n·K]
///                       or  w2_a [r, k]   w2_b [r, n]    t2 [r, r, taps..]
/// ```
struct Factors {
    w1: [usize; 2],
    /// `[k, n]`, or `[k, n·K]` where `is_unfolded`.
    w2: [usize; 2],
    is_unfolded: bool,
    is_thin: [bool; 2],
    /// None where both are whole.
    rank: Option<usize>,
}

impl Factors {
    fn of(module: &Parts) -> Result<Self, NotHeld> {
        expect_cores(module, &[CORE])?;
        let part = || NotHeld::new(module, "a part of a LoKr adapter");
        let shapes = KEYS.map(|key| module.shape(key).unwrap_or_default());
        let [w1, a1, b1, w2, a2, b2, t2] = shapes.each_ref().map(Vec::as_slice);
        let (w1, r1) = match (w1, a1, b1) {
            (&[l, m], [], []) => ([l, m], None),
            ([], &[l, r], &[q, m]) if r == q => ([l, m], Some(r)),
            _ => return Err(part()),
        };
        let (w2, r2) = match (w2, a2, b2, t2) {
            (&[k, n] | &[k, n, _, _], [], [], []) => ([k, n], None),
            // PEFT multiplies a kernel of one dimension, or three, by W1 along other axes.
            ([_, _, ..], [], [], []) => {
                return Err(NotHeld::new(module, format!("lokr_w2 of shape {w2:?}")));
            }
            ([], &[k, r], &[q, n], []) if r == q => ([k, n], Some(r)),
            ([], &[r, k], &[q, n], &[s, t, ..]) if [q, s, t] == [r; 3] => ([k, n], Some(r)),
            _ => return Err(part()),
        };
        if [r1.unwrap_or(1), r2.unwrap_or(1)].into_iter().chain(w1).chain(w2).any(|n| n == 0)
            || (r1.is_some() && r2.is_some() && r1 != r2)
        {
            return Err(NotHeld::new(module, "factors of different or no rank"));
        }
        Ok(Self {
            w1,
            w2,
            is_unfolded: r2.is_some() && t2.is_empty(),
            is_thin: [r1.is_some(), r2.is_some()],
            rank: r1.or(r2),
        })
    }

    /// Whether PEFT makes factors of these shapes; with `kernels`, for some number of taps.
    fn follow(&self, factor: Option<usize>, rank: usize, both: bool, kernels: bool) -> bool {
        let Self { w1: [l, m], w2: [k, columns], is_thin, .. } = *self;
        let rank = self.rank.unwrap_or(rank);
        let most = if kernels && self.is_unfolded { columns } else { 1 };
        is_thin[0] == (both && 2 * rank < l.max(m))
            && is_split(l, k, factor)
            && (1..=most).filter(|&taps| columns.is_multiple_of(taps)).any(|taps| {
                let n = columns / taps;
                is_thin[1] == (2 * rank < k.max(n)) && is_split(m, n, factor)
            })
    }
}

/// The `decompose_factor` that gives all modules the sizes that they have; none is PEFT's -1.
fn factor(
    modules: &[Parts],
    factors: &[Factors],
    rank: usize,
    both: bool,
) -> Result<Option<usize>, NotHeld> {
    // A kernel cannot be told from more inputs: first as if no layer had one.
    let largest = factors.iter().flat_map(|it| it.w1.into_iter().chain(it.w2)).max().unwrap_or(1);
    let candidates = || [None].into_iter().chain((1..=largest).map(Some));
    let mut furthest = 0;
    for (kernels, candidate) in
        [false, true].into_iter().flat_map(|kernels| candidates().map(move |it| (kernels, it)))
    {
        let follows = |it: &Factors| it.follow(candidate, rank, both, kernels);
        match factors.iter().position(|it| !follows(it)) {
            None => return Ok(candidate),
            Some(at) => furthest = furthest.max(at),
        }
    }
    let Factors { w1, w2, .. } = &factors[furthest];
    Err(NotHeld::new(&modules[furthest], format!("the split of its sizes into {w1:?} and {w2:?}")))
}

/// Whether PEFT splits the size `first · second` so: at the factor where that divides it, else as
/// equally as can be with no more than the factor in front.
fn is_split(first: usize, second: usize, factor: Option<usize>) -> bool {
    let whole = first * second;
    match factor {
        Some(factor) if whole.is_multiple_of(factor) => first == factor,
        _ => {
            let most = factor.unwrap_or(whole).min(whole.isqrt());
            first <= most && (first + 1..=most).all(|size| !whole.is_multiple_of(size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_split;

    #[test]
    fn sizes_are_split_as_peft_does() {
        // Of PEFT's `factorization`.
        for (whole, factor, split) in [
            (256, None, (16, 16)),
            (128, None, (8, 16)),
            (127, None, (1, 127)),
            (128, Some(4), (4, 32)),
            (16, Some(8), (8, 2)),
            (24, Some(10), (4, 6)),
            (18, Some(5), (3, 6)),
            (1, None, (1, 1)),
        ] {
            for first in (1..=whole).filter(|&first| whole % first == 0) {
                let second = whole / first;
                assert_eq!(
                    is_split(first, second, factor),
                    (first, second) == split,
                    "{first} {second} {factor:?}"
                );
            }
        }
    }
}
