//! Small files that declare much data, and files that break off.

/// An atom of an MP4 file.
fn atom(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(8 + body.len() as u32).to_be_bytes(), name.as_slice(), body].concat()
}

fn words(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An MP4 whose table of sizes promises `n_samples` of no bytes.
fn empty_samples(n_samples: u32) -> Vec<u8> {
    let entry = [words(&[0]), vec![0, 0, 0, 1], words(&[0, 0]), vec![0, 1, 0, 16], words(&[0, 16_000 << 16])];
    let stsd = [words(&[0, 1]), atom(b"sowt", &entry.concat())].concat();
    let table = [
        atom(b"stsd", &stsd),
        atom(b"stts", &words(&[0, 1, n_samples, 1])),
        atom(b"stsc", &words(&[0, 1, 1, n_samples, 1])),
        atom(b"stsz", &words(&[0, 0, n_samples])),
        atom(b"stco", &words(&[0, 1, 40])),
    ];
    let hdlr = [words(&[0, 0]), b"soun".to_vec(), words(&[0, 0, 0]), vec![0]].concat();
    let minf = [atom(b"smhd", &words(&[0, 0])), atom(b"stbl", &table.concat())].concat();
    let mdhd = words(&[0, 0, 0, 16_000, n_samples, 0x55c4_0000]);
    let mdia = [atom(b"mdhd", &mdhd), atom(b"hdlr", &hdlr), atom(b"minf", &minf)].concat();
    let tkhd = [words(&[7, 0, 0, 1, 0, n_samples, 0, 0, 0, 0]), words(&[0; 11])].concat();
    let mvhd = [words(&[0, 0, 0, 1000, n_samples, 0x1_0000]), words(&[0; 19])].concat();
    let trak = [atom(b"tkhd", &tkhd), atom(b"mdia", &mdia)].concat();
    let moov = [atom(b"mvhd", &mvhd), atom(b"trak", &trak)].concat();
    [atom(b"ftyp", b"isom\0\0\0\0isom"), atom(b"moov", &moov), atom(b"mdat", &[0; 64])].concat()
}

/// A CAF of IMA ADPCM with the given number of samples in a packet.
fn huge_packets(n_frames: u32) -> Vec<u8> {
    let desc =
        [16_000.0_f64.to_be_bytes().to_vec(), b"ima4".to_vec(), words(&[0, 34, n_frames, 1, 0])].concat();
    let chunk =
        |name: &[u8; 4], body: &[u8]| [name.as_slice(), &(body.len() as u64).to_be_bytes(), body].concat();
    [b"caff".to_vec(), vec![0, 1, 0, 0], chunk(b"desc", &desc), chunk(b"data", &[0; 72])].concat()
}

/// A WAV with a header of this many channels at this rate, over `data`.
pub(super) fn wav(n_channels: u16, rate_hz: u32, data: &[u8]) -> Vec<u8> {
    let n = data.len() as u32;
    let frame = n_channels.wrapping_mul(2);
    let mut out = [b"RIFF".as_slice(), &(36 + n).to_le_bytes(), b"WAVEfmt \x10\0\0\0\x01\0"].concat();
    out.extend(n_channels.to_le_bytes());
    out.extend(rate_hz.to_le_bytes());
    out.extend(rate_hz.wrapping_mul(u32::from(frame)).to_le_bytes());
    out.extend(frame.to_le_bytes());
    out.extend([16, 0]);
    out.extend(b"data");
    out.extend(n.to_le_bytes());
    out.extend(data);
    out
}

/// Every file, over a piece of speech as 16-bit samples.
pub(super) fn all(speech: &[u8]) -> Vec<Vec<u8>> {
    let mut cut = wav(1, 16_000, speech);
    cut.truncate(cut.len() / 2);
    let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let silence = wav(1, 16_000, &vec![0; 20 * 60 * 32_000]);
    vec![
        empty_samples(5_000_000),
        empty_samples(u32::MAX),
        huge_packets(u32::MAX),
        wav(65_535, 192_000, speech),
        wav(8, 192_000, speech),
        [b"ID3\x04\0\0\x7f\x7f\x7f\x7f".as_slice(), &noise].concat(),
        [b"OggS\0\x02".as_slice(), &noise].concat(),
        [b"fLaC\0\0\0\x22".as_slice(), &noise].concat(),
        [b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff".as_slice(), &noise].concat(),
        cut,
        silence,
        noise,
    ]
}
