//! Randomness without a state.
//!
//! Every draw comes from a stream of its own, which follows from the seed of the run, what it is drawn
//! for, and a number: of a step, of an epoch, of a sample. So a run that was stopped needs to know only
//! the number of its next step to go on as if it had not been, and the noise of a sample depends neither
//! on the size of a batch nor on what else is drawn.

use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

/// The stream for a purpose and a number.
pub fn stream(seed: u64, purpose: &str, number: u64) -> StdRng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(number.to_le_bytes());
    hash.update(purpose);
    StdRng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn streams_differ_in_seed_purpose_and_number_and_in_nothing_else() {
        let first = |seed, purpose, number| -> u64 { stream(seed, purpose, number).random() };
        assert_eq!(first(1, "noise", 2), first(1, "noise", 2));
        assert_ne!(first(1, "noise", 2), first(2, "noise", 2));
        assert_ne!(first(1, "noise", 2), first(1, "order", 2));
        assert_ne!(first(1, "noise", 2), first(1, "noise", 3));
    }
}
