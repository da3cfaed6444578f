//! Samples without a container, as clients send them and pipes bring them: how they are written, and their decoder.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// How one sample is written.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    EnumString,
    IntoStaticStr,
    VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Signed 16-bit integers, little endian.
    #[default]
    #[value(name = "pcm_s16le")]
    PcmS16le,
    /// 32-bit floats, little endian, full scale at ±1.
    #[value(name = "pcm_f32le")]
    PcmF32le,
    /// 8-bit µ-law (ITU-T G.711).
    #[value(name = "mulaw")]
    Mulaw,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word on the wire and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Bytes of one sample of one channel.
    #[must_use]
    pub fn sample_bytes(self) -> usize {
        match self {
            Self::PcmS16le => 2,
            Self::PcmF32le => 4,
            Self::Mulaw => 1,
        }
    }

    /// Appends the samples of `bytes`; bytes past the last whole sample are left alone. Integers and µ-law are scaled
    /// to `[-1, 1)`; floats are passed on as they are, non-finite ones too.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::PcmS16le => {
                let (samples, _) = bytes.as_chunks::<2>();
                out.extend(samples.iter().map(|b| f32::from(i16::from_le_bytes(*b)) / 32_768.0));
            }
            Self::PcmF32le => {
                let (samples, _) = bytes.as_chunks::<4>();
                out.extend(samples.iter().map(|b| f32::from_le_bytes(*b)));
            }
            Self::Mulaw => out.extend(bytes.iter().map(|&b| f32::from(mulaw_to_i16(b)) / 32_768.0)),
        }
    }
}

/// One G.711 µ-law byte as a 16-bit sample (ITU-T G.711, table 2a, scaled from 14 to 16 bits).
fn mulaw_to_i16(byte: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let byte = !byte;
    let exponent = (byte >> 4) & 0x07;
    let mantissa = i16::from(byte & 0x0f);
    let magnitude = (((mantissa << 3) + BIAS) << exponent) - BIAS;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Decoder output values of G.711 table 2a, on its 14-bit scale times four.
    #[test]
    fn mulaw_follows_the_table_of_g711() {
        for (byte, expected) in
            [(0xff, 0), (0x7f, 0), (0xfe, 8), (0xef, 132), (0x80, 32_124), (0x00, -32_124)]
        {
            assert_eq!(mulaw_to_i16(byte), expected, "{byte:#x}");
        }
        // Larger codes are quieter, on both sides.
        for byte in 0x80..0xffu8 {
            assert!(mulaw_to_i16(byte) > mulaw_to_i16(byte + 1));
            assert_eq!(mulaw_to_i16(byte), -mulaw_to_i16(byte & 0x7f));
        }
    }

    #[test]
    fn samples_decode_to_unit_range() {
        let decoded = |encoding: Encoding, bytes: &[u8]| {
            let mut out = Vec::new();
            encoding.decode(bytes, &mut out);
            out
        };
        let integers = decoded(Encoding::PcmS16le, &[0, 0, 0, 0x80, 0xff, 0x7f, 1]);
        assert_eq!(integers, [0.0, -1.0, 32_767.0 / 32_768.0], "the odd byte is left alone");
        assert_eq!(decoded(Encoding::PcmF32le, &0.25f32.to_le_bytes()), [0.25]);
        assert_eq!(decoded(Encoding::Mulaw, &[0x00]), [-32_124.0 / 32_768.0]);
    }

    #[test]
    fn wire_and_command_line_have_one_word_for_each() {
        for &encoding in Encoding::ALL {
            assert_eq!(serde_json::to_value(encoding).unwrap(), encoding.as_str());
            assert_eq!(encoding.to_possible_value().unwrap().get_name(), encoding.as_str());
        }
    }
}
