//! Degrees of freedom of the update against the dimensions of the sets of matrices that are known, and
//! closed forms of the nearest adapter against everything near them.

use burn::tensor::{DType, Device, Tensor};
use higanbana::{
    adapters::registry,
    core::{DynAdapter, freedom, trained},
    laws::{Subject, Trial},
    prelude::{Init, Site, SiteKind},
};

use super::matrices::{normal, values};

const SHAPE: [usize; 2] = [12, 8];

/// An adapter of this algorithm and options in general position, its site and its base weight.
fn adapter(algorithm: &str, options: &str) -> (DynAdapter, Site, Tensor<2>) {
    let site = Site::new("layer", SiteKind::Linear, SHAPE);
    let w0 = normal(SHAPE, 1);
    let registry = registry();
    let kind = registry.get(algorithm).expect("an algorithm");
    let options = options.parse().expect("TOML");
    let fresh = kind.build(&site, &options, &mut Init::new(&site, w0.clone(), 2)).unwrap();
    (trained::shaken(fresh, 0.5, 3), site, w0)
}

#[test]
fn dimensions_are_those_of_the_sets() {
    for (algorithm, options, degrees) in [
        // Matrices of rank r: r (m + n - r).
        ("lora", "rank = 3", 3 * (12 + 8 - 3)),
        ("lora", "rank = 8", 12 * 8),
        ("lora", "rank = 2\nuse_scalar = true", 2 * (12 + 8 - 2)),
        // Outer products of [3, 2] and [4, 4], rearranged.
        ("lokr", "rank = 9\nfull_matrix = true", 3 * 2 + 4 * 4 - 1),
        // Pairs of matrices of rank 1 whose product of entries does not see how a sign or a size of a row
        // or a column is shared: rank 1 again.
        ("loha", "rank = 1", 12 + 8 - 1),
        ("ia3", "", 12),
        ("full", "", 12 * 8),
        // Rotations of blocks of 3: three angles each, of nine values.
        ("diag-oft", "rank = 3", 4 * 3),
        // Of the inputs, blocks of 4: six angles each, and no more values; or one block for both.
        ("oftv2", "rank = 4", 2 * 6),
        ("oftv2", "rank = 4\nblock_share = true", 6),
        ("oftv2", "rank = 4\nexact = true", 2 * 6),
    ] {
        let (adapter, site, w0) = adapter(algorithm, options);
        let freedom = freedom(&adapter, &site, &w0, 4).unwrap();
        assert_eq!(freedom.degrees, degrees, "{algorithm} {options}: {freedom:?}");
        assert_eq!(freedom.parameters, adapter.parameter_count(&site), "{algorithm} {options}");
    }
}

/// No adapter of any algorithm that has a closed form comes nearer by a small step or from elsewhere.
#[test]
fn nothing_is_nearer_than_the_nearest() {
    let registry = registry();
    let mut found = 0;
    for trial in Trial::standard() {
        for subject in Subject::all(&registry, &trial, &Device::flex(), DType::F64) {
            let subject = subject.unwrap();
            let (site, w0) = (&trial.site, &subject.w0);
            let target = normal([site.out(), site.cols()], 5);
            let Some(nearest) = subject.trained.nearest(site, w0, &target) else { continue };
            let nearest = nearest.unwrap();
            let distance = |adapter: &DynAdapter| {
                values(&(adapter.update_at(site, w0, 1.0) - target.clone()).square().sum())[0]
            };
            let best = distance(&nearest);
            for seed in 0..4 {
                for std in [1e-4, 1e-2, 1.0] {
                    let other = distance(&trained::shaken(nearest.clone(), std, seed));
                    assert!(best <= other * (1.0 + 1e-9), "{:?} on {trial}", subject.kind.name());
                }
            }
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}
