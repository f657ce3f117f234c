//! The second Kronecker factor, which carries the kernel.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    AdapterError, Call, Features, Init, Outline, Parts, Site, Tensors, algebra,
    parts::{dims, to_data},
};

/// $W_2$ `[k, n, K]`: whole, a product `[k, r] · [r, n·K]`, or a Tucker form with the core
/// `[p, q, K]` between `[p, k]` and `[q, n]`.
#[derive(Module, Debug)]
pub struct Second {
    /// $W_2$.
    pub lokr_w2: Option<Param<Tensor<3>>>,
    /// Its left part.
    pub lokr_w2_a: Option<Param<Tensor<2>>>,
    /// Its right part.
    pub lokr_w2_b: Option<Param<Tensor<2>>>,
    /// Its Tucker core.
    pub lokr_t2: Option<Param<Tensor<3>>>,
}

/// How a new factor is built.
pub(super) struct Plan {
    /// `[k, n, K]`.
    pub dims: [usize; 3],
    /// Rank of its parts; `None` keeps it whole.
    pub rank: Option<usize>,
    /// Tucker form.
    pub tucker: bool,
    /// Starts at zero.
    pub silent: bool,
}

impl Second {
    pub(super) fn whole(w2: Tensor<3>) -> Self {
        let lokr_w2 = Some(Param::from_tensor(w2));
        Self { lokr_w2, lokr_w2_a: None, lokr_w2_b: None, lokr_t2: None }
    }

    pub(super) fn decomposed(a: Tensor<2>, core: Option<Tensor<3>>, b: Tensor<2>) -> Self {
        let [lokr_w2_a, lokr_w2_b] = [a, b].map(|part| Some(Param::from_tensor(part)));
        Self { lokr_w2: None, lokr_w2_a, lokr_w2_b, lokr_t2: core.map(Param::from_tensor) }
    }

    pub(super) fn new(plan: &Plan, init: &mut Init) -> Self {
        let [k, n, taps] = plan.dims;
        match plan.rank {
            None => Self::whole(last(plan, init, [k, n, taps], n * taps)),
            Some(r) if plan.tucker => {
                let core = init.kaiming_uniform([r, r, taps], r * taps);
                let a = init.kaiming_uniform([r, k], k);
                Self::decomposed(a, Some(core), last(plan, init, [r, n], n))
            }
            Some(r) => {
                let a = init.kaiming_uniform([k, r], r);
                Self::decomposed(a, None, last(plan, init, [r, n * taps], n * taps))
            }
        }
    }

    pub(super) fn read(
        site: &Site,
        [k, n]: [usize; 2],
        parts: &Parts,
    ) -> Result<Self, AdapterError> {
        let taps = site.taps();
        if parts.has("lokr_w2") {
            let kernel = site.kernel_shape(k, n);
            return Ok(Self::whole(parts.unfolded("lokr_w2", &kernel, [k, n, taps])?));
        }
        let r = parts.dim("lokr_w2_b", 0)?;
        if !parts.has("lokr_t2") {
            let a = parts.tensor("lokr_w2_a", [k, r])?;
            let kernel = site.kernel_shape(r, n);
            let b = parts.unfolded("lokr_w2_b", &kernel, [r, n * taps])?;
            return Ok(Self::decomposed(a, None, b));
        }
        let p = parts.dim("lokr_t2", 0)?;
        let core = parts.unfolded("lokr_t2", &site.kernel_shape(p, r), [p, r, taps])?;
        let a = parts.tensor("lokr_w2_a", [p, k])?;
        Ok(Self::decomposed(a, Some(core), parts.tensor("lokr_w2_b", [r, n])?))
    }

    /// `[k, n, kernel...]` and rank, as far as the tensors tell.
    pub(super) fn outline(tensors: &Tensors) -> Outline {
        let keys = ["lokr_w2", "lokr_t2", "lokr_w2_a", "lokr_w2_b"];
        match keys.map(|key| dims(tensors, key)) {
            [w2 @ [_, _, ..], ..] => Outline::new(w2, None),
            [_, [_, _, kernel @ ..], &[_, k], &[r, n]] => {
                Outline::new([&[k, n], kernel].concat(), r)
            }
            [_, [], &[k, _], &[r, cols]] => Outline::unfolded([k, cols], r),
            _ => Outline::default(),
        }
    }

    pub(super) fn write(&self, site: &Site, tensors: &mut Tensors) {
        for (key, part) in [("lokr_w2_a", &self.lokr_w2_a), ("lokr_w2_b", &self.lokr_w2_b)] {
            if let Some(part) = part {
                let part = part.val();
                tensors.insert(key.into(), to_data(&part, part.dims()));
            }
        }
        for (key, kernel) in [("lokr_w2", &self.lokr_w2), ("lokr_t2", &self.lokr_t2)] {
            if let Some(kernel) = kernel {
                let [rows, cols, _] = kernel.lazy_shape().dims();
                tensors.insert(key.into(), to_data(&kernel.val(), site.kernel_shape(rows, cols)));
            }
        }
    }

    /// $W_2$ `[k, n, K]`.
    pub(super) fn kernel(&self, [k, n, taps]: [usize; 3]) -> Tensor<3> {
        match self.form() {
            Form::Whole(w2) => w2.val(),
            Form::Product(a, b) => a.val().matmul(b.val()).reshape([k, n, taps]),
            Form::Tucker(a, core, b) => algebra::tucker(core.val(), a.val().transpose(), b.val()),
        }
    }

    /// The layer's operation with $W_2$ as weight.
    pub(super) fn act(&self, call: &Call, x: &Features) -> Features {
        let unfolded = |kernel: Tensor<3>| {
            let [rows, cols, taps] = kernel.dims();
            kernel.reshape([rows, cols * taps])
        };
        match self.form() {
            Form::Whole(w2) => call.apply_to(x, unfolded(w2.val())),
            Form::Product(a, b) => call.apply_to(x, b.val()).mix(a.val()),
            Form::Tucker(a, core, b) => {
                call.apply_to(&x.mix(b.val()), unfolded(core.val())).mix(a.val().transpose())
            }
        }
    }

    /// Ranks `[p, q]` of its parts; `None` where it is whole.
    pub(super) fn ranks(&self) -> Option<[usize; 2]> {
        match self.form() {
            Form::Whole(_) => None,
            Form::Product(_, b) => Some([b.lazy_shape()[0]; 2]),
            Form::Tucker(a, _, b) => Some([a.lazy_shape()[0], b.lazy_shape()[0]]),
        }
    }

    /// Largest rank that it can have as a matrix `[k, n·K]`.
    pub(super) fn rank_bound(&self, [k, n, taps]: [usize; 3]) -> usize {
        let rank = match (self.ranks(), &self.lokr_t2) {
            (None, _) => usize::MAX,
            (Some([r, _]), None) => r,
            (Some([p, q]), Some(_)) => p.min(q * taps),
        };
        rank.min(k).min(n * taps)
    }

    /// Names of its tensors.
    pub(super) fn names(&self) -> &'static [&'static str] {
        match self.form() {
            Form::Whole(_) => &["lokr_w2"],
            Form::Product(..) => &["lokr_w2_a", "lokr_w2_b"],
            Form::Tucker(..) => &["lokr_w2_a", "lokr_w2_b", "lokr_t2"],
        }
    }

    /// Number of values, which is also what acting with it costs at each position.
    pub(super) fn size(&self, [k, n, taps]: [usize; 3]) -> usize {
        match (self.ranks(), &self.lokr_t2) {
            (None, _) => k * n * taps,
            (Some([r, _]), None) => r * (k + n * taps),
            (Some([p, q]), Some(_)) => p * k + q * n + p * q * taps,
        }
    }

    fn form(&self) -> Form<'_> {
        match (&self.lokr_w2, &self.lokr_w2_a, &self.lokr_w2_b, &self.lokr_t2) {
            (Some(w2), ..) => Form::Whole(w2),
            (None, Some(a), Some(b), None) => Form::Product(a, b),
            (None, Some(a), Some(b), Some(core)) => Form::Tucker(a, core, b),
            _ => unreachable!("no constructor leaves a part out"),
        }
    }
}

enum Form<'a> {
    Whole(&'a Param<Tensor<3>>),
    Product(&'a Param<Tensor<2>>, &'a Param<Tensor<2>>),
    Tucker(&'a Param<Tensor<2>>, &'a Param<Tensor<3>>, &'a Param<Tensor<2>>),
}

/// The tensor that keeps a new adapter silent.
fn last<const D: usize>(
    plan: &Plan,
    init: &mut Init,
    shape: [usize; D],
    fan_in: usize,
) -> Tensor<D> {
    if plan.silent { init.zeros(shape) } else { init.kaiming_uniform(shape, fan_in) }
}
