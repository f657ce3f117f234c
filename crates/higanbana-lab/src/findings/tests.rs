//! Sentences that pages once said and numbers did not.

use super::*;

fn sample(values: &[f64]) -> Sample {
    Sample::of((0..).zip(values.iter().copied()))
}

fn cut_off(values: &[f64]) -> Sample {
    (0..).zip(values.iter().map(|&value| Value { value, at_most: true })).collect()
}

const ALONE: Judge = Judge { margin: 0.0, comparisons: 1 };

/// 1, 2, 3: mean 2, standard error 1/√3, quantile 4.302653.
#[test]
fn intervals_are_student_s() {
    let half = sample(&[1.0, 2.0, 3.0]).half_width(1);
    assert!((half - 4.302_653 / 3f64.sqrt()).abs() < 1e-5, "{half}");
    // Two comparisons: 2.5 % each, 6.205347.
    let half = sample(&[1.0, 2.0, 3.0]).half_width(2);
    assert!((half - 6.205_347 / 3f64.sqrt()).abs() < 1e-5, "{half}");
}

#[test]
fn one_seed_tells_nothing() {
    assert_eq!(sample(&[-5.0]).against(0.0, ALONE), Order::Unknown);
    assert_eq!(sample(&[-5.0]).words(), "-5.00 (one seed)");
    let entries = [("a", sample(&[1.0])), ("b", sample(&[2.0]))];
    let front = Front::of(&entries, Side::Least, 0.0).unwrap();
    assert_eq!((front.first, &front.unknown[..]), ("a", &["b"][..]));
}

/// The effective rank of diag-oft's update over 1024 steps: up under one seed, down under two.
#[test]
fn what_one_seed_contradicts_is_not_said_of_every_one() {
    let changes = [
        ("lora", sample(&[-0.169, -0.185, -0.095])),
        ("diag-oft", sample(&[0.267, -3.512, -0.403])),
    ];
    let parts = Parts::against(0.0, &changes, 0.01);
    assert_eq!(parts.unknown, ["lora", "diag-oft"]);
    let many = [-0.169, -0.185, -0.155, -0.149, -0.161];
    let changes =
        [("lora", sample(&many)), ("diag-oft", sample(&[0.267, -3.512, -0.403, 0.1, -0.2]))];
    let parts = Parts::against(0.0, &changes, 0.01);
    assert_eq!(
        parts.words(["falls", "rises", "stays"]),
        "falls for lora; for diag-oft these numbers do not decide"
    );
    assert_eq!(
        Parts::against(0.0, &[("a", sample(&many)), ("b", sample(&many))], 0.01)
            .words(["falls", "rises", "stays"]),
        "falls for every one of 2"
    );
}

/// IA3 against the fixed subspace that it is: −0.00318 and 0.00091, a mean below 0.
#[test]
fn noise_is_not_nearer() {
    assert_eq!(sample(&[-0.003_18, 0.000_91]).against(0.0, ALONE), Order::Unknown);
    assert_eq!(sample(&[-0.0935, -0.0837, -0.0911]).against(0.0, ALONE), Order::Less);
}

/// What was cut off may be less than it is: it is never called farther, equal or the last.
#[test]
fn what_was_cut_off_is_an_upper_bound() {
    let (low, high) = (&[0.10, 0.11, 0.10], &[0.90, 0.91, 0.90]);
    assert_eq!(cut_off(low).compared(&sample(high), ALONE), Order::Less);
    assert_eq!(cut_off(high).compared(&sample(low), ALONE), Order::Unknown);
    assert_eq!(sample(low).compared(&cut_off(high), ALONE), Order::Unknown);
    assert_eq!(sample(high).compared(&cut_off(low), ALONE), Order::Greater);
    assert_eq!(cut_off(low).compared(&cut_off(high), ALONE), Order::Unknown);
    let wide = Judge { margin: 10.0, ..ALONE };
    assert_eq!(sample(low).compared(&sample(high), wide), Order::Tied);
    assert_eq!(cut_off(low).compared(&sample(high), wide), Order::Unknown);
    assert_eq!(cut_off(low).words(), "at most 0.103");
    let entries =
        [("bound", cut_off(high)), ("exact", sample(low)), ("less", cut_off(&[0.05, 0.06, 0.05]))];
    let front = Front::of(&entries, Side::Most, 0.0).unwrap();
    assert_eq!((front.first, &front.unknown[..]), ("exact", &["bound"][..]));
    assert_eq!(
        front.doubt("may stay farther"),
        "; bound may stay farther, which these numbers do not decide"
    );
}

/// The same numbers twice are no best and second best.
#[test]
fn ties_are_not_ranked() {
    let same = [0.343_587, 0.343_587, 0.343_587];
    let entries = [
        ("lora", sample(&same)),
        ("dylora", sample(&same)),
        ("loha", sample(&[0.395_8, 0.394_7, 0.395_2])),
    ];
    let front = Front::of(&entries, Side::Least, 1e-6).unwrap();
    assert_eq!(front.names(), "lora and dylora, alike, with 0.344");
    assert_eq!(front.doubt("may be nearer"), "");
}

/// Runs of a seed share the task: what differs from seed to seed for all is no doubt about their order.
#[test]
fn seeds_are_paired() {
    let (a, b) = (sample(&[0.1, 0.5, 0.9]), sample(&[0.2, 0.61, 1.0]));
    assert_eq!(a.compared(&b, ALONE), Order::Less);
    let apart = Sample::of([(7, 0.2), (8, 0.61)]);
    assert_eq!(a.compared(&apart, ALONE), Order::Unknown);
}

#[test]
fn counts_that_tie_are_all_named() {
    assert_eq!(
        largest([("a", 0.75), ("b", 0.5), ("c", 0.75)], |it| it.1),
        [("a", 0.75), ("c", 0.75)]
    );
    assert_eq!(largest([0.0; 0], |it| *it), [0.0; 0]);
}
