//! Time, as a parameter.

use core::ops::Add;

/// Milliseconds since the Unix epoch, as the driver's clock has them. The engine survives a clock that
/// jumps: order never comes from it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(pub u64);

impl Add<u64> for Timestamp {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
