//! Functions without branches, which the compiler turns into vectors.

// Coefficients are written as they were fitted.
#![allow(clippy::excessive_precision)]

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use pulp::{Arch, Simd, WithSimd};

/// Runs loops with the widest vectors that the CPU has.
///
/// A function that is not inlined is compiled once, for every CPU: with narrow vectors. So the closure
/// is, and what it calls has to be `#[inline(always)]` as well.
macro_rules! wide {
    (|| $run:expr) => {
        $crate::ops::flex::math::widely(
            #[inline(always)]
            || $run,
        )
    };
}
pub(super) use wide;

/// See [`wide`].
#[inline(always)]
pub fn widely<R>(run: impl FnMut() -> R) -> R {
    /// Called by reference: to be called by value, a closure is wrapped in a function of its own.
    struct Loops<F>(F);
    impl<R, F: FnMut() -> R> WithSimd for Loops<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(mut self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Loops(run))
}

/// $e^x$ within two units in the last place; outside of ±87, where it leaves single precision, it
/// stays at what it is there.
///
/// $x = n \ln 2 + r$ with $|r| \le \frac{1}{2} \ln 2$, and $e^r$ from a polynomial that is off by 3e-9.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let n = x * LOG2_E + ROUND;
    let power = f32::from_bits((n.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let n = n - ROUND;
    // ln 2 in two parts, so that n times the first is exact.
    let r = x - n * 0.693_359_375 + n * 2.121_944_4e-4;
    let p = 1.381_463_14e-3;
    let p = p * r + 8.368_717_51e-3;
    let p = p * r + 4.166_838_9e-2;
    let p = p * r + 1.666_652_11e-1;
    let p = p * r + 4.999_999_4e-1;
    (1.0 + (r + r * r * p)) * power
}

/// $1 / (1 + e^{-x})$.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The normal distribution $\Phi(x)$ and its density $\phi(x)$.
///
/// With $a = |x| / \sqrt 2$: $\Phi(-|x|) = \frac{1}{2} e^{-a^2} \mathrm{erfcx}(a)$, and
/// $(1 + 2 a) \mathrm{erfcx}(a)$ is a polynomial in $(a - 2) / (a + 2)$ up to 5.4e-8 of its value.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    const COEFFICIENTS: [f32; 11] = [
        1.276_978_4,
        -0.092_763_08,
        -0.166_031_52,
        0.164_035_83,
        -0.054_208_256,
        -0.007_942_667,
        0.008_678_227,
        0.001_043_077_4,
        -0.001_382_726_5,
        -0.000_183_626_73,
        0.000_155_460_32,
    ];
    // 1 / √(2π)
    const DENSITY: f32 = 0.398_942_28;
    let a = x.abs() * FRAC_1_SQRT_2;
    let t = (a - 2.0) / (a + 2.0);
    let p = COEFFICIENTS.iter().rev().fold(0.0, |p, c| p * t + c);
    let bell = exp(-0.5 * x * x);
    let tail = 0.5 * bell * p / (1.0 + 2.0 * a);
    (if x > 0.0 { 1.0 - tail } else { tail }, DENSITY * bell)
}

/// $\sum f(a_i, b_i)$: in single precision for some thousand entries, and these in double.
#[inline(always)]
pub fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 32;
    let mut sum = 0.0;
    for (a, b) in a.chunks(128 * LANES).zip(b.chunks(128 * LANES)) {
        let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        let mut lanes = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for i in 0..LANES {
                lanes[i] += f(a[i], b[i]);
            }
        }
        let mut rest = 0.0;
        for (a, b) in rest_a.iter().zip(rest_b) {
            rest += f(*a, *b);
        }
        sum += f64::from(lanes.iter().sum::<f32>() + rest);
    }
    sum
}

/// The largest of numbers; of NaNs there may be some.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    const LANES: usize = 32;
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::MIN; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = greater(lanes[i], chunk[i]);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::MIN, greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials() {
        for i in -8700..=8700 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 2.5e-7 * exact, "{x}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY) > 1e37);
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn the_normal_distribution_by_its_tables() {
        for (x, below, density) in [
            (0.0, 0.5, 0.398_942_280_401_432_7),
            (0.1, 0.539_827_837_277_029, 0.396_952_547_477_011_8),
            (1.0, 0.841_344_746_068_542_9, 0.241_970_724_519_143_37),
            (-1.0, 0.158_655_253_931_457_05, 0.241_970_724_519_143_37),
            (-3.0, 1.349_898_031_630_094_6e-3, 4.431_848_411_938_008e-3),
            (-5.0, 2.866_515_718_791_939e-7, 1.486_719_514_734_298e-6),
            (6.0, 0.999_999_999_013_412_4, 6.075_882_849_823_286e-9),
        ] {
            let found = normal(x as f32);
            for (found, exact) in [(found.0, below), (found.1, density)] {
                assert!((f64::from(found) - exact).abs() < 1e-6 * exact, "{x}: {found} {exact}");
            }
        }
        assert!(normal(f32::NAN).0.is_nan());
    }

    #[test]
    fn sums_and_maxima_of_any_length() {
        for n in [1, 31, 32, 33, 4095, 4097, 9000] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 - 500.0).collect();
            let exact: f64 = x.iter().map(|x| f64::from(*x)).sum();
            assert_eq!(sum(&x, &x, |a, _| a), exact, "{n}");
            let expected = x.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(largest(&x), expected, "{n}");
        }
    }
}
