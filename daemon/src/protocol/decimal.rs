//! Measured numbers as the wire carries them: at most three decimals.

/// A measured number; on the wire a JSON number with at most three decimals, never NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Decimal(pub f64);

/// A time or a length in seconds.
pub type Seconds = Decimal;

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(round_3(self.0))
    }
}

impl From<diarized_dsp::SampleIndex> for Decimal {
    fn from(at: diarized_dsp::SampleIndex) -> Self {
        Self(round_3(at.seconds()))
    }
}

impl From<Decimal> for diarized_dsp::SampleIndex {
    fn from(seconds: Decimal) -> Self {
        Self::from_seconds(seconds.0)
    }
}

/// A length in seconds rounded down to the millisecond, for what must not be promised too much of.
pub(crate) fn whole_ms(seconds: f64) -> Seconds {
    Decimal((seconds * 1000.0 + 1e-6).floor() / 1000.0)
}

/// Rounds to three decimals, which is what the wire carries of any measured number; NaN gives 0 and what is out
/// of range the nearest number that JSON holds without an exponent worth reading.
pub(super) fn round_3(value: f64) -> f64 {
    // Room for times since 1970, too.
    const LARGEST: f64 = 1e12;
    if value.is_nan() { 0.0 } else { (value.clamp(-LARGEST, LARGEST) * 1000.0).round() / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_carry_at_most_three_decimals() {
        assert_eq!(serde_json::to_string(&Decimal(1.0 / 3.0)).unwrap(), "0.333");
        assert_eq!(serde_json::to_string(&Decimal(86_399.123_456)).unwrap(), "86399.123");
        assert_eq!(serde_json::to_string(&Decimal(2.0)).unwrap(), "2.0");
        assert_eq!(serde_json::to_string(&Decimal(1_795_471_200.5)).unwrap(), "1795471200.5");
        assert_eq!(serde_json::to_string(&Decimal(f64::NAN)).unwrap(), "0.0");
        assert_eq!(serde_json::to_string(&Decimal(f64::NEG_INFINITY)).unwrap(), "-1000000000000.0");
    }
}
