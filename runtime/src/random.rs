//! Randomness, which `proto` takes as an argument: jitter for waits, and names nobody else has.

use ring::rand::{SecureRandom, SystemRandom};

/// A share in `0.0..1.0`, for the `jitter` of a wait.
///
/// # Panics
///
/// If the system has no randomness to give, as [`id`].
#[must_use]
pub fn share() -> f64 {
    let mut bits = [0; 4];
    fill(&mut bits);
    f64::from(u32::from_le_bytes(bits)) / (f64::from(u32::MAX) + 1.0)
}

/// A name that no other process has: 16 lower-case hex characters.
///
/// # Panics
///
/// If the system has no randomness to give: nothing that must differ between processes could be
/// right then.
#[must_use]
pub fn id() -> String {
    let mut bits = [0; 8];
    fill(&mut bits);
    format!("{:016x}", u64::from_le_bytes(bits))
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the system has randomness to give");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_below_one_and_names_differ() {
        let shares: Vec<f64> = (0..1_000).map(|_| share()).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        assert!(
            shares.iter().any(|share| *share < 0.25) && shares.iter().any(|share| *share > 0.75)
        );
        assert_ne!(id(), id());
        assert_eq!(id().len(), 16);
    }
}
