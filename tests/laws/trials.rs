//! Random layers, ranks, strengths and seeds.

use higanbana::{
    core::{Condition, SiteKind},
    laws::{Geometry, Trial},
};
use proptest::{collection::vec, prelude::*, sample::select, strategy::Union, test_runner};

/// The same cases each time.
pub fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        rng_seed: test_runner::RngSeed::Fixed(20),
        failure_persistence: None,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    }
}

/// Any kind of parameter, the two with a shortcut more often.
pub fn any_trial() -> impl Strategy<Value = Trial> {
    Union::new_weighted(vec![
        (6, site(SiteKind::Linear, 0).boxed()),
        (2, site(SiteKind::Conv1d, 1).boxed()),
        (6, site(SiteKind::Conv2d, 2).boxed()),
        (2, site(SiteKind::Conv3d, 3).boxed()),
        (1, vector(SiteKind::Norm).boxed()),
        (1, vector(SiteKind::NormBias).boxed()),
        (1, vector(SiteKind::Bias).boxed()),
    ])
    .prop_flat_map(|trial| (Just(trial), 1..=4usize, select(&[0.0, 1.0, 2.5][..])))
    .prop_flat_map(|(trial, rank, alpha)| {
        (Just(trial), Just((rank, alpha)), -2.0..3.0, condition(rank), any::<u32>())
    })
    .prop_map(|(trial, (rank, alpha), strength, condition, seed)| Trial {
        rank,
        alpha,
        strength,
        condition,
        seed: u64::from(seed),
        ..trial
    })
}

fn site(kind: SiteKind, axes: usize) -> impl Strategy<Value = Trial> {
    let groups = if axes == 0 { 1..=1usize } else { 1..=2usize };
    (groups, 1..=12usize, 1..=6usize, vec(1..=3usize, axes), geometry()).prop_map(
        move |(groups, rows, input, kernel, geometry)| {
            let mut shape = vec![groups * rows, input];
            shape.extend(kernel);
            let mut trial = Trial::new(kind, shape);
            if axes > 0 {
                trial.geometry = Geometry { groups, ..geometry };
            }
            trial
        },
    )
}

fn vector(kind: SiteKind) -> impl Strategy<Value = Trial> {
    (1..=9usize).prop_map(move |size| Trial::new(kind, [size]))
}

fn geometry() -> impl Strategy<Value = Geometry> {
    (1..=2usize, 0..=2usize, 1..=2usize).prop_map(|(stride, padding, dilation)| Geometry {
        stride,
        padding,
        dilation,
        groups: 1,
    })
}

fn condition(rank: usize) -> impl Strategy<Value = Condition> {
    prop_oneof![
        2 => Just(Condition::default()),
        1 => (0.0..1000.0).prop_map(|t| Condition::at([t], 1000.0)),
        1 => (1..=rank).prop_map(Condition::with_rank),
    ]
}
