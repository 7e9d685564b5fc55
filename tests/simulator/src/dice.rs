//! All chance in the simulator comes from here, so that a seed repeats a run.

use std::fmt::Write;
use std::sync::Mutex;

use crate::lock;

/// A seeded source of numbers (SplitMix64), shared by everything that draws in one order.
///
/// What must be reproducible alone (a scenario, one fault board) gets its own by [`Dice::fork`]:
/// two things that share one would depend on which asked first.
#[derive(Debug)]
pub struct Dice(Mutex<u64>);

impl Dice {
    /// A source that gives the same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let mut state = lock(&self.0);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(*state)
    }

    /// A number below `bound`, or 0 when the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True with this probability; 1 and above is always, 0 and below never.
    pub fn chance(&self, probability: f64) -> bool {
        // 53 bits are what an f64 holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
        let draw = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        draw < probability
    }

    /// An independent source named after what it is for.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let seed = crate::shard::fnv1a64(label.as_bytes()) ^ self.next();
        Self::new(mix(seed))
    }

    /// This many upper-case hexadecimal digits, as today's open ids look.
    pub fn hex(&self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            let _ = write!(text, "{:016X}", self.next()); // writing to a String cannot fail
        }
        text.truncate(digits);
        text
    }

    /// A name in UUID form.
    pub fn uuid(&self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 50),
            b & 0xffff_ffff_ffff
        )
    }
}

/// Spreads a number over all 64 bits (the last step of SplitMix64).
pub(crate) const fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_forks_do_not_depend_on_each_other() {
        let draw = |dice: &Dice| [dice.next(), dice.next(), dice.next()];
        assert_eq!(draw(&Dice::new(7)), draw(&Dice::new(7)));
        assert_ne!(draw(&Dice::new(7)), draw(&Dice::new(8)));
        let first = Dice::new(7).fork("rest");
        assert_eq!(draw(&first), draw(&Dice::new(7).fork("rest")));
        assert_ne!(draw(&first), draw(&Dice::new(7).fork("scenario")));
    }

    #[test]
    fn certainties_are_certain() {
        let dice = Dice::new(1);
        assert!((0..1000).all(|_| dice.chance(1.0) && !dice.chance(0.0)));
        let hits = (0..10_000).filter(|_| dice.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
    }

    #[test]
    fn names_have_their_form() {
        let dice = Dice::new(3);
        assert_eq!(dice.hex(32).len(), 32);
        let uuid = dice.uuid();
        let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{uuid}");
    }
}
