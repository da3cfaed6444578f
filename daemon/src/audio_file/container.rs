//! Decoding of container files with symphonia: packets of one track with their times.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{FORMAT_ID_ADTS, FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_OGG};
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::adts::Adts;
use super::budget::{Budget, Patience};
use super::clock::{Clock, Fit};
use super::conform::{Conform, Spec};
use super::decoders::{IS_MPEG, make_decoder, mpeg_kind, open_fault};
use super::error::{AudioProblem, Fault};
use super::fragments::Fragments;
use super::guard::guarded;
use super::layout;
use super::step::Step;
use super::track_layout::{Edit, TrackLayout};
use super::tracks::{self, Chosen};
use super::watch::{TOO_MUCH, Watched};

/// What an AAC encoder puts before the sound, at least: the first frame has nothing to overlap with. An edit list says
/// it exactly, where there is one.
const AAC_PRIMING_FRAMES: u64 = 1024;
/// Limit of the silence for a damaged packet, in seconds.
const MAX_CONCEALED_S: u64 = 1;

/// Most frames of MPEG audio that an encoder puts behind the sound: two packets and a part of one.
const MAX_PADDING_FRAMES: u64 = 3 * 1152;

const DECODER_GAVE_UP: &str = "the decoder gave up";

pub(super) struct Container {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    params: AudioCodecParameters,
    /// Format of the last packet of MPEG audio: a decoder accepts no other.
    mpeg_kind: Option<[u8; 3]>,
    /// Frames that the tag of an MPEG audio file counts, until there are more.
    n_tagged_frames: Option<u64>,
    /// Frames at the start that count as the encoder's without a timestamp.
    n_presumed_frames: u64,
    track_id: u32,
    time_base: Option<TimeBase>,
    n_promised_frames: Option<u64>,
    promise_is_exact: bool,
    /// Rate in Hz and channels of what is given out; zeros until the first packet is decoded, unless the header has them.
    spec: Spec,
    /// What turns sound of another format into this one, while there is such sound.
    conform: Option<Conform>,
    /// The first change of the format.
    change: Option<AudioProblem>,
    layout: TrackLayout,
    fragments: Option<Fragments>,
    /// Which of how many audio tracks this is, counted from 0.
    track_of: (usize, usize),
    /// Whether timestamps show gaps; other containers count samples.
    has_clock: bool,
    clock: Clock,
    /// Samples after a gap that was just reported.
    held: Option<Vec<f32>>,
    /// Frames at the start of the track that belong to the encoder and not to the sound.
    n_skip_frames: u64,
    n_frames: u64,
    n_damaged_packets: u64,
    budget: Budget,
    /// Whether the file promises too much.
    too_much: Arc<AtomicBool>,
    scratch: Vec<f32>,
}

impl Container {
    pub(super) fn open(
        source: Box<dyn MediaSource>,
        track: Option<usize>,
        patience: Patience,
    ) -> Result<Self, Fault> {
        let opened = guarded(|| Self::open_unguarded(source, track, patience));
        opened.unwrap_or_else(|| Err(Fault::Damaged { reason: DECODER_GAVE_UP.to_owned() }))
    }

    fn open_unguarded(
        source: Box<dyn MediaSource>,
        track: Option<usize>,
        patience: Patience,
    ) -> Result<Self, Fault> {
        let (layout, source) = layout::read(source).map_err(|source| Fault::Read { source })?;
        let (source, too_much) = Watched::new(source, patience.clone());
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let probe = symphonia::default::get_probe();
        let format = probe
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match too_much.load(Ordering::Relaxed) {
                true => Fault::Damaged { reason: TOO_MUCH.to_owned() },
                false => patience.check().err().unwrap_or_else(|| open_fault(&error)),
            })?;
        let format = match format.format_info().format == FORMAT_ID_ADTS {
            true => Box::new(Adts::of(format)),
            false => format,
        };
        let chosen = tracks::choose(&*format, layout.tracks, track)?;
        Self::of_track(format, chosen, layout.fragments, Budget::new(patience), too_much)
    }

    fn of_track(
        format: Box<dyn FormatReader>,
        chosen: Chosen,
        fragments: Option<Fragments>,
        budget: Budget,
        too_much: Arc<AtomicBool>,
    ) -> Result<Self, Fault> {
        let Chosen { track, decoder, mut n_skip_frames, layout, idx, n_tracks } = chosen;
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { return Err(Fault::NoTrack) };
        let container = format.format_info().format;
        let mut n_promised_frames = track.num_frames;
        if params.codec == CODEC_ID_OPUS {
            n_promised_frames = n_promised_frames.map(|n| n.saturating_sub(n_skip_frames));
        }
        if !layout.edits.is_empty() {
            // They say what belongs to the encoder, and may leave out any part.
            n_skip_frames = 0;
            let left = |n: u64, edit: &Edit| {
                n.saturating_sub(edit.media.unsigned_abs()).min(edit.len.unsigned_abs())
            };
            n_promised_frames = match layout.edits.as_slice() {
                [edit] => n_promised_frames.map(|n| left(n, edit)),
                _ => None,
            };
        } else if params.codec == CODEC_ID_AAC && container == FORMAT_ID_ISOMP4 {
            n_skip_frames = AAC_PRIMING_FRAMES;
        }
        let n_presumed_frames = if params.codec == CODEC_ID_AAC { n_skip_frames } else { 0 };
        let spec = (params.sample_rate.unwrap_or(0), params.channels.as_ref().map_or(0, |c| c.count()));
        let is_pcm_like = params.bits_per_sample.is_some();
        let exact = [CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS];
        let is_mpeg = IS_MPEG.contains(&params.codec);
        Ok(Self {
            track_id: track.id,
            time_base: track.time_base,
            n_promised_frames,
            promise_is_exact: !is_mpeg && (is_pcm_like || exact.contains(&params.codec)),
            spec,
            conform: None,
            change: None,
            layout,
            fragments,
            track_of: (idx, n_tracks),
            has_clock: [FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_OGG].contains(&container),
            clock: Clock::default(),
            held: None,
            n_skip_frames,
            n_frames: 0,
            n_damaged_packets: 0,
            budget,
            too_much,
            scratch: Vec::new(),
            params: params.clone(),
            mpeg_kind: None,
            n_tagged_frames: track.num_frames.filter(|_| is_mpeg),
            n_presumed_frames,
            format,
            decoder,
        })
    }

    pub(super) fn n_promised_frames(&self) -> Option<u64> {
        self.n_promised_frames
    }

    /// Whether what is promised is counted from the beginning of the clock, and not from that of the sound.
    pub(super) fn promise_is_an_end(&self) -> bool {
        self.format.format_info().format == FORMAT_ID_OGG
    }

    pub(super) fn promise_is_exact(&self) -> bool {
        self.promise_is_exact
    }

    pub(super) fn spec(&self) -> Spec {
        self.spec
    }

    /// Which of how many audio tracks is decoded, counted from 0.
    pub(super) fn track_of(&self) -> (usize, usize) {
        self.track_of
    }

    /// The first change of rate or channels.
    pub(super) fn change(&mut self) -> Option<AudioProblem> {
        self.change.take()
    }

    pub(super) fn n_damaged_packets(&self) -> u64 {
        self.n_damaged_packets
    }

    /// Decodes the next packet of the track and appends its samples; not to be called again after
    /// [`Step::End`] or an error.
    pub(super) fn step(&mut self, block: &mut Vec<f32>) -> Result<Step, Fault> {
        guarded(|| self.step_unguarded(block)).unwrap_or_else(|| {
            block.clear();
            let reason = DECODER_GAVE_UP.to_owned();
            Ok(Step::End(Some(AudioProblem::Broken { at_s: self.at_s(), reason })))
        })
    }

    fn step_unguarded(&mut self, block: &mut Vec<f32>) -> Result<Step, Fault> {
        self.budget.check_time()?;
        if let Some(held) = self.held.take() {
            self.give(&held, block);
            return Ok(Step::Samples);
        }
        let mut packet = match self.format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(self.end(block, None)),
            Err(_) if self.too_much.load(Ordering::Relaxed) => {
                let reason = TOO_MUCH.to_owned();
                return Ok(self.end(block, Some(AudioProblem::Broken { at_s: self.at_s(), reason })));
            }
            Err(SymphoniaError::ResetRequired) => return self.next_link(),
            Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(self.end(block, None));
            }
            Err(SymphoniaError::IoError(source)) => {
                self.budget.check_time()?;
                return Err(Fault::Read { source });
            }
            Err(error) => return Ok(self.end(block, Some(self.broken(&error)))),
        };
        if !self.budget.takes_packet(packet.data.len()) {
            return Ok(self.overdrawn(block));
        }
        if packet.track_id != self.track_id {
            return Ok(self.mute(block));
        }
        if IS_MPEG.contains(&self.params.codec) {
            let kind = mpeg_kind(&packet.data);
            if self.mpeg_kind.is_some() && kind.is_some() && kind != self.mpeg_kind {
                (self.decoder, _) = make_decoder(&self.params)?;
            }
            self.mpeg_kind = kind.or(self.mpeg_kind);
            self.go_on_behind_tag(&mut packet, block);
        }
        let spec = match self.decoder.decode(&packet) {
            Ok(buffer) if buffer.is_empty() => return Ok(self.mute(block)),
            Ok(buffer) => {
                copy_frames(&buffer, &mut self.scratch);
                (buffer.spec().rate(), buffer.spec().channels().count())
            }
            Err(SymphoniaError::DecodeError(_) | SymphoniaError::IoError(_)) => {
                self.conceal(&packet, block);
                return Ok(self.mute(block));
            }
            Err(error) => return Ok(self.end(block, Some(self.broken(&error)))),
        };
        self.place(&packet, spec, block)
    }

    /// Files that were joined begin with a tag that counts the frames of the first; the demuxer leaves out all others. What
    /// it left out before it is sure stays silent: some frames at the end of a file are padding.
    fn go_on_behind_tag(&mut self, packet: &mut Packet, block: &mut Vec<f32>) {
        let Some(n_tagged) = self.n_tagged_frames else { return };
        let n_before = u64::try_from(packet.pts.get()).unwrap_or(0);
        if n_before > n_tagged + MAX_PADDING_FRAMES && self.spec.1 > 0 {
            self.n_tagged_frames = Some(0);
            packet.trim_end = Duration::ZERO;
            let n_missing = (n_before - n_tagged) * u64::from(n_tagged > 0);
            self.give(&vec![0.0; n_missing.min(2 * MAX_PADDING_FRAMES) as usize * self.spec.1], block);
        }
    }

    /// Gives out what was decoded of a packet, where its timestamp puts it.
    fn place(&mut self, packet: &Packet, spec: Spec, block: &mut Vec<f32>) -> Result<Step, Fault> {
        // Rate and channels of the header are hints until the first packet is decoded.
        if self.n_frames == 0 {
            self.spec = spec;
        }
        let n_frames = self.scratch.len() / spec.1.max(1);
        let n_skip = usize::try_from(self.n_skip_frames).unwrap_or(usize::MAX).min(n_frames);
        self.n_skip_frames -= n_skip as u64;
        let ts = packet.pts.get();
        let file_ts = self.fragments.as_ref().map_or(ts, |fragments| fragments.file_ts(self.track_id, ts));
        let len = i64::try_from(packet.dur.get()).unwrap_or(i64::MAX);
        let Some(place) = self.layout.place(file_ts, len) else { return Ok(self.mute(block)) };
        let n_cut = (self.seconds(place.n_cut) * f64::from(spec.0)).round() as usize;
        let mut samples = self.scratch.split_off(((n_skip + n_cut) * spec.1).min(self.scratch.len()));
        if let Err(problem) = self.conform(spec, &mut samples, block) {
            return Ok(Step::End(Some(problem)));
        }
        let n_ahead = n_skip as f64 - self.n_presumed_frames as f64;
        let at_s = self.seconds(place.at) + n_ahead / f64::from(spec.0.max(1));
        let rate_hz = self.spec.0;
        let fit = match self.has_clock {
            true => self.clock.fit(ts, at_s, self.n_frames, rate_hz),
            false => Fit::Here,
        };
        match fit {
            Fit::Here => self.give(&samples, block),
            Fit::Overlap(n) => {
                let n_known = usize::try_from(n).unwrap_or(usize::MAX).saturating_mul(self.spec.1);
                self.give(samples.get(n_known..).unwrap_or_default(), block);
            }
            Fit::Hole(n) if n <= MAX_CONCEALED_S * u64::from(rate_hz) => {
                self.give(&vec![0.0; n as usize * self.spec.1], block);
                self.give(&samples, block);
            }
            Fit::Hole(n) => {
                self.n_frames += n;
                self.held = Some(samples);
                return Ok(Step::Gap(n));
            }
        }
        Ok(Step::Samples)
    }

    /// Goes on after a packet that gave nothing, unless too many did.
    fn mute(&mut self, block: &mut Vec<f32>) -> Step {
        if self.budget.takes_mute() { Step::Samples } else { self.overdrawn(block) }
    }

    fn overdrawn(&mut self, block: &mut Vec<f32>) -> Step {
        let reason = "it promises more packets than its bytes can fill".to_owned();
        self.end(block, Some(AudioProblem::Broken { at_s: self.at_s(), reason }))
    }

    fn seconds(&self, ticks: i64) -> f64 {
        let Some(base) = self.time_base else { return 0.0 };
        ticks as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get())
    }

    fn give(&mut self, samples: &[f32], block: &mut Vec<f32>) {
        block.extend_from_slice(samples);
        self.n_frames += (samples.len() / self.spec.1.max(1)) as u64;
    }

    /// Makes `samples` those of the file's first format; what was held back of another one goes out before.
    fn conform(
        &mut self,
        from: Spec,
        samples: &mut Vec<f32>,
        block: &mut Vec<f32>,
    ) -> Result<(), AudioProblem> {
        if self.conform.as_ref().is_some_and(|conform| conform.from() != from) {
            self.flush(block);
        }
        if from == self.spec {
            return Ok(());
        }
        if self.conform.is_none() {
            let change = self.format_change(from);
            let Some(conform) = Conform::new(from, self.spec) else { return Err(change) };
            self.conform = Some(conform);
            self.change.get_or_insert(change);
        }
        let mut conformed = Vec::new();
        if let Some(conform) = &mut self.conform {
            conform.push(samples, &mut conformed);
        }
        *samples = conformed;
        Ok(())
    }

    /// Gives out what is held back of another format.
    fn flush(&mut self, block: &mut Vec<f32>) {
        let Some(mut conform) = self.conform.take() else { return };
        let mut rest = Vec::new();
        conform.finish(&mut rest);
        self.give(&rest, block);
    }

    fn end(&mut self, block: &mut Vec<f32>, problem: Option<AudioProblem>) -> Step {
        self.flush(block);
        Step::End(problem)
    }

    /// Keeps the clock true over a packet that cannot be decoded: silence of its length.
    fn conceal(&mut self, packet: &Packet, block: &mut Vec<f32>) {
        self.n_damaged_packets += 1;
        let (rate_hz, n_channels) = self.spec;
        let Some(time) = self.time_base.and_then(|base| base.calc_duration(packet.dur)) else { return };
        let n_frames = (time.as_secs_f64() * f64::from(rate_hz)).round() as u64;
        let n_frames = n_frames.min(MAX_CONCEALED_S * u64::from(rate_hz));
        if self.n_frames > 0 {
            block.resize(block.len() + n_frames as usize * n_channels, 0.0);
            self.n_frames += n_frames;
        }
    }

    /// Goes on with the next link of a chained Ogg stream, or in another format of an ADTS stream.
    fn next_link(&mut self) -> Result<Step, Fault> {
        let Some(track) = self.format.default_track(TrackType::Audio) else { return Ok(Step::End(None)) };
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { return Ok(Step::End(None)) };
        self.track_id = track.id;
        self.time_base = track.time_base;
        (self.decoder, self.n_skip_frames) = make_decoder(params)?;
        self.params = params.clone();
        self.clock.begin_anew();
        // The promise was that of the first link.
        self.n_promised_frames = None;
        Ok(Step::Samples)
    }

    fn at_s(&self) -> f64 {
        self.n_frames as f64 / f64::from(self.spec.0.max(1))
    }

    fn broken(&self, error: &SymphoniaError) -> AudioProblem {
        AudioProblem::Broken { at_s: self.at_s(), reason: error.to_string() }
    }

    fn format_change(&self, to: (u32, usize)) -> AudioProblem {
        let words = |(rate_hz, n_channels): (u32, usize)| match n_channels {
            1 => format!("{rate_hz} Hz with one channel"),
            n => format!("{rate_hz} Hz with {n} channels"),
        };
        AudioProblem::FormatChange { at_s: self.at_s(), from: words(self.spec), to: words(to) }
    }
}

/// Replaces `samples` by those of `buffer`, interleaved.
fn copy_frames(buffer: &GenericAudioBufferRef<'_>, samples: &mut Vec<f32>) {
    buffer.copy_to_vec_interleaved(samples);
}
