//! The first Kronecker factor.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    AdapterError, Init, Outline, Parts, Site, Tensors,
    parts::{dims, to_data},
};

/// $W_1$ `[l, m]`, whole or a product `[l, r] · [r, m]`.
#[derive(Module, Debug)]
pub struct First {
    /// $W_1$.
    pub lokr_w1: Option<Param<Tensor<2>>>,
    /// Its left part.
    pub lokr_w1_a: Option<Param<Tensor<2>>>,
    /// Its right part.
    pub lokr_w1_b: Option<Param<Tensor<2>>>,
}

impl First {
    pub(super) fn whole(w1: Tensor<2>) -> Self {
        Self { lokr_w1: Some(Param::from_tensor(w1)), lokr_w1_a: None, lokr_w1_b: None }
    }

    pub(super) fn product(a: Tensor<2>, b: Tensor<2>) -> Self {
        let [a, b] = [a, b].map(|part| Some(Param::from_tensor(part)));
        Self { lokr_w1: None, lokr_w1_a: a, lokr_w1_b: b }
    }

    pub(super) fn new([l, m]: [usize; 2], rank: Option<usize>, init: &mut Init) -> Self {
        match rank {
            None => Self::whole(init.kaiming_uniform([l, m], m)),
            Some(r) => {
                Self::product(init.kaiming_uniform([l, r], r), init.kaiming_uniform([r, m], m))
            }
        }
    }

    pub(super) fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let whole = parts.has("lokr_w1");
        let [a, b] = if whole { ["lokr_w1"; 2] } else { ["lokr_w1_a", "lokr_w1_b"] };
        let (l, m) = (parts.dim(a, 0)?, parts.dim(b, 1)?);
        for (key, size, of) in [(a, l, site.out()), (b, m, site.input())] {
            if !of.is_multiple_of(size) {
                return Err(parts.misshapen(key, format!("a divisor of {of} in place of {size}")));
            }
        }
        if whole {
            return Ok(Self::whole(parts.tensor("lokr_w1", [l, m])?));
        }
        let r = parts.dim(b, 0)?;
        Ok(Self::product(parts.tensor(a, [l, r])?, parts.tensor(b, [r, m])?))
    }

    /// `[l, m]` and rank, as far as the tensors tell.
    pub(super) fn outline(tensors: &Tensors) -> Outline {
        match ["lokr_w1", "lokr_w1_a", "lokr_w1_b"].map(|key| dims(tensors, key)) {
            [&[l, m], ..] => Outline::new([l, m], None),
            [_, &[l, _], &[r, m]] => Outline::new([l, m], r),
            _ => Outline::default(),
        }
    }

    /// Writes it with `scale` folded in.
    pub(super) fn write(&self, scale: impl Fn(Tensor<2>) -> Tensor<2>, tensors: &mut Tensors) {
        let mut insert = |key: &str, part: Tensor<2>| {
            tensors.insert(key.into(), to_data(&part, part.dims()));
        };
        match self.form() {
            Form::Whole(w1) => insert("lokr_w1", scale(w1.val())),
            Form::Product(a, b) => {
                insert("lokr_w1_a", scale(a.val()));
                insert("lokr_w1_b", b.val());
            }
        }
    }

    /// $W_1$.
    pub(super) fn matrix(&self) -> Tensor<2> {
        match self.form() {
            Form::Whole(w1) => w1.val(),
            Form::Product(a, b) => a.val().matmul(b.val()),
        }
    }

    /// `[l, m]`.
    pub(super) fn dims(&self) -> [usize; 2] {
        match self.form() {
            Form::Whole(w1) => w1.lazy_shape().dims(),
            Form::Product(a, b) => [a.lazy_shape()[0], b.lazy_shape()[1]],
        }
    }

    /// Rank of the product; `None` where it is whole.
    pub(super) fn rank(&self) -> Option<usize> {
        self.lokr_w1_b.as_ref().map(|b| b.lazy_shape()[0])
    }

    /// Largest rank that it can have.
    pub(super) fn rank_bound(&self) -> usize {
        let [l, m] = self.dims();
        self.rank().unwrap_or(usize::MAX).min(l).min(m)
    }

    /// Names of its tensors.
    pub(super) fn names(&self) -> &'static [&'static str] {
        match self.form() {
            Form::Whole(_) => &["lokr_w1"],
            Form::Product(..) => &["lokr_w1_a", "lokr_w1_b"],
        }
    }

    /// Number of values.
    pub(super) fn size(&self) -> usize {
        let [l, m] = self.dims();
        self.rank().map_or(l * m, |r| r * (l + m))
    }

    fn form(&self) -> Form<'_> {
        match (&self.lokr_w1, &self.lokr_w1_a, &self.lokr_w1_b) {
            (Some(w1), _, _) => Form::Whole(w1),
            (None, Some(a), Some(b)) => Form::Product(a, b),
            _ => unreachable!("no constructor leaves a part out"),
        }
    }
}

enum Form<'a> {
    Whole(&'a Param<Tensor<2>>),
    Product(&'a Param<Tensor<2>>, &'a Param<Tensor<2>>),
}
