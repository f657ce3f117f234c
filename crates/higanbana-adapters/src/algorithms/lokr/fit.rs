//! The best LoKr for an update, and for a LoKr of a larger rank.

use burn::tensor::Tensor;
use higanbana_core::{
    Budget, Site, algebra,
    spectrum::{self, SpectrumError},
};

use super::{First, Lokr, Second, saves};

/// The nearest Kronecker product, with factors as equal as can be and $W_2$ cut to the budget.
pub(super) fn nearest(
    site: &Site,
    update: &Tensor<2>,
    budget: Budget,
) -> Result<Lokr, SpectrumError> {
    let (l, _) = algebra::factorization(site.out(), -1);
    let (m, _) = algebra::factorization(site.input(), -1);
    let (w1, w2) = product(site, update, [l, m])?;
    Ok(Lokr::of(First::whole(w1), second(w2, budget)?))
}

/// The nearest Kronecker product with $W_1$ `[l, m]`, both factors whole: the optimum.
pub(super) fn whole(
    site: &Site,
    update: &Tensor<2>,
    first: [usize; 2],
) -> Result<Lokr, SpectrumError> {
    let (w1, w2) = product(site, update, first)?;
    Ok(Lokr::of(First::whole(w1), Second::whole(w2)))
}

fn product(
    site: &Site,
    update: &Tensor<2>,
    first: [usize; 2],
) -> Result<(Tensor<2>, Tensor<3>), SpectrumError> {
    let kernel = update.clone().reshape([site.out(), site.input(), site.taps()]);
    let mut terms = spectrum::nearest_kron(&kernel, first, 1)?.terms;
    Ok(terms.pop().expect("one term was asked for"))
}

/// The same factors at the budget's rank, where they are decomposed.
pub(super) fn cut(lokr: &Lokr, site: &Site, budget: Budget) -> Result<Lokr, SpectrumError> {
    let (w1, w2) = (lokr.scaled_w1(), lokr.w2.kernel(lokr.dims_of_w2(site)));
    let w1 = match lokr.w1.rank() {
        None => First::whole(w1),
        Some(_) => {
            let [a, b] = spectrum::low_rank(&w1, budget)?;
            First::product(a, b)
        }
    };
    let w2 = match lokr.w2.ranks() {
        None => Second::whole(w2),
        Some(_) => second(w2, budget)?,
    };
    Ok(Lokr::of(w1, w2))
}

/// $W_2$ at the budget's rank: decomposed where that saves anything.
fn second(w2: Tensor<3>, budget: Budget) -> Result<Second, SpectrumError> {
    let [k, n, taps] = w2.dims();
    let [a, b] = spectrum::low_rank(&w2.clone().reshape([k, n * taps]), budget)?;
    Ok(match saves(a.dims()[1], k, n) {
        true => Second::decomposed(a, None, b),
        false => Second::whole(w2),
    })
}
