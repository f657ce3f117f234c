//! Roots that are powers of two where they can be.

use super::ScalingError;

/// $\gamma^{1/m}$; a power of two where that is one, found from the exponent.
///
/// # Errors
/// When $\gamma$ is not a positive number, or the degree is 0.
pub fn root(gamma: f64, m: u32) -> Result<f64, ScalingError> {
    positive(gamma)?;
    if m == 0 {
        return Err(ScalingError::DegreeZero);
    }
    let m = m as i32;
    Ok(match exponent_of_two(gamma) {
        Some(e) if e % m == 0 => power_of_two(e / m),
        _ if m == 1 => gamma,
        _ => gamma.powf(1.0 / f64::from(m)),
    })
}

/// # Errors
/// When $\gamma$ is not a positive number.
pub(super) fn positive(gamma: f64) -> Result<(), ScalingError> {
    if gamma > 0.0 && gamma.is_finite() { Ok(()) } else { Err(ScalingError::Gamma(gamma)) }
}

/// Whether $x = 2^e$.
pub fn is_power_of_two(x: f64) -> bool {
    exponent_of_two(x).is_some()
}

/// $e$ where $x = 2^e$ and $x$ is a normal number.
fn exponent_of_two(x: f64) -> Option<i32> {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let exact = x > 0.0 && x.is_normal() && bits & MANTISSA == 0;
    exact.then(|| ((bits >> 52) & 0x7ff) as i32 - 1023)
}

/// $2^e$ for $-1022 \le e \le 1023$.
pub(super) fn power_of_two(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}
