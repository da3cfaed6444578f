//! What is fuzzed: one function an entry for foreign bytes. Each checks what must hold whatever the bytes are, and
//! panics where it does not.
//!
//! `tests/fuzz` gives them to libFuzzer; `tests/tests/fuzz.rs` gives them a bounded number of damaged examples with
//! every run of the tests.

use std::io::{Cursor, Write as _};
use std::path::Path;

use diarized::audio_file::{AudioFile, MonoFile, Opening, Piece, RawFormat};
use diarized::client::Address;
use diarized::cluster::{Assembler, AudioMessage, Piece as AudioPiece};
use diarized::protocol::server_message::Body;
use diarized::protocol::text::{checked_note, checked_title};
use diarized::protocol::{AudioFormat, ClientMessage, Encoding, ServerMessage};
use diarized::recording;
use diarized::session::Entry as StoredCorrection;
use diarized::voices::Version;
use diarized_config::Sources;
use diarized_dsp::log_mel::LogMel;
use diarized_dsp::{ChannelSelect, Intake, IntakeParams};
use diarized_models::SpeechDetector;
use diarized_models::diarizer::{Continuation, VoiceMemory};
use diarized_models::rttm::{SpeakerTurn, parse_rttm, parse_uem, write_rttm};
use diarized_models::segmentation;
use diarized_models::{
    Diarizer, DiarizerOptions, DiarizerParams, ModelCard, SegmentId, SessionState, SpeakerId,
};

mod whole_session;

pub use whole_session::examples as example_sessions;

/// An entry and its name.
pub type Entry = (&'static str, fn(&[u8]));

/// Every entry.
pub const ENTRIES: [Entry; 19] = [
    ("client_message", client_message),
    ("server_message", server_message),
    ("audio_file", audio_file),
    ("kept_audio", kept_audio),
    ("pcm", pcm),
    ("address", address),
    ("config", config),
    ("rttm", rttm),
    ("event_log", event_log),
    ("counts", counts),
    ("stored_correction", stored_correction),
    ("voice_memory", voice_memory),
    ("model_card", model_card),
    ("mqtt_packet", mqtt_packet),
    ("cluster_message", cluster_message),
    ("shared_voice", shared_voice),
    ("recogniser", recogniser),
    ("dialect", dialect),
    ("session", session),
];

/// Maximum length of a fault: what a peer sent is repeated in part only.
const MAX_FAULT_CHARS: usize = 2000;
/// Most samples that a damaged file may claim: libFuzzer's inputs are small, and silence for lost packets is bounded.
const MAX_SAMPLES: usize = 50_000_000;

/// A text frame of a client, as the server reads it.
pub fn client_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ClientMessage::parse(text) {
        Ok(message) => {
            if let ClientMessage::Start(start) = &message {
                // Whether good or bad, a check never panics.
                let _ = (start.audio.unwrap_or_default().check(), start.speakers.check());
            }
            if let ClientMessage::Title(title) = &message {
                is_one_line(checked_title(&title.title));
            }
            if let ClientMessage::Note(note) = &message {
                let fault = checked_note(&note.text).err().map(|fault| fault.to_string());
                assert!(fault.is_none_or(|fault| fault.chars().count() < MAX_FAULT_CHARS));
            }
            if let ClientMessage::Words(words) = &message {
                match words.checked() {
                    Ok(words) => assert!(words.iter().all(|word| !word.text.is_empty())),
                    Err(fault) => assert!(fault.to_string().chars().count() < MAX_FAULT_CHARS, "{fault}"),
                }
            }
            assert_eq!(ClientMessage::parse(&message.to_json()), Ok(message));
        }
        Err(error) => assert!(error.to_string().chars().count() < MAX_FAULT_CHARS, "{error}"),
    }
}

/// A title that is taken fits a line of an export; the fault of another one is short.
fn is_one_line(title: Result<&str, impl std::fmt::Display>) {
    match title {
        Ok(title) => assert!(title.chars().all(|c| !c.is_control()), "{title:?}"),
        Err(fault) => assert!(fault.to_string().chars().count() < MAX_FAULT_CHARS, "{fault}"),
    }
}

/// A text frame of a server, as a client reads it.
pub fn server_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(message) = ServerMessage::parse(text) else { return };
    if let Body::Snapshot(snapshot) = &message.body {
        let _ = snapshot.to_state();
    }
    let _ = message.body.to_event();
    ServerMessage::parse(&message.to_json()).expect("what was read can be written and read again");
}

/// The address of a server as a person types it.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(address) = Address::parse(text) else { return };
    let url = address.url("/v1/events");
    let again = Address::parse(&url).expect("an address that was read can be written and read again");
    assert_eq!(again.url("/v1/events"), url);
}

/// A file of any kind, opened from a disk, from memory and from a pipe, to its end.
pub fn audio_file(bytes: &[u8]) {
    hear(AudioFile::pipe("fuzz", Cursor::new(bytes.to_vec())).ok());
    let mut file = tempfile::NamedTempFile::new().expect("there is a folder for temporary files");
    file.write_all(bytes).expect("a temporary file can be written");
    hear(AudioFile::open(file.path()).ok());
    for track in [None, Some(1)] {
        let opening = Opening { track, ..Opening::default() };
        hear(opening.memory("fuzz", bytes.to_vec()).ok());
    }
}

/// A file of kept audio, of which a part is asked for. The first bytes choose the part.
pub fn kept_audio(bytes: &[u8]) {
    let Some((&[start, length], file)) = bytes.split_first_chunk::<2>() else { return };
    let (start, length) = (f64::from(start) / 8.0, f64::from(length) / 8.0);
    match recording::cut(Cursor::new(file), start, Some(start + length)) {
        Ok(part) => {
            assert!(part.duration_s > 0.0 && part.duration_s <= length + 1e-6);
            // What was written can be read, and holds all of the part.
            let again = recording::cut(Cursor::new(&part.bytes), 0.0, None).expect("a part is a whole file");
            assert!(
                (again.duration_s - part.duration_s).abs() < 1e-4,
                "{} {}",
                again.duration_s,
                part.duration_s
            );
        }
        Err(error) => assert!(error.to_string().chars().count() < MAX_FAULT_CHARS, "{error}"),
    }
}

/// Takes all of a file and looks at what comes.
fn hear(file: Option<AudioFile>) {
    let Some(file) = file else { return };
    assert!((8_000..=192_000).contains(&file.sample_rate_hz()) && (1..=8).contains(&file.n_channels()));
    let mut mono = MonoFile::new(file, ChannelSelect::Mix).expect("rate and channels were checked");
    let (mut samples, mut n_samples) = (Vec::new(), 0);
    while let Ok(Piece::Samples | Piece::Gap(_)) = mono.next(&mut samples) {
        assert!(samples.iter().all(|sample| sample.is_finite()));
        n_samples += samples.len();
        assert!(n_samples < MAX_SAMPLES, "a damaged file goes on without end");
        samples.clear();
    }
    for problem in mono.problems() {
        assert!(problem.to_string().chars().count() < MAX_FAULT_CHARS);
    }
}

/// PCM as a file without a header and as frames of a client. The first bytes choose the format.
pub fn pcm(bytes: &[u8]) {
    let Some((&[encoding, channels, low, high], data)) = bytes.split_first_chunk::<4>() else { return };
    let rate_hz = u32::from(u16::from_le_bytes([low, high]));
    let encoding = Encoding::ALL[usize::from(encoding % 3)];
    let raw = RawFormat { encoding, sample_rate_hz: rate_hz, n_channels: u16::from(channels) };
    hear(AudioFile::raw("fuzz", Cursor::new(data.to_vec()), raw).ok());

    let format = AudioFormat { encoding, sample_rate: rate_hz, channels: channels.into(), channel: None };
    if format.check().is_err() {
        return;
    }
    let params =
        IntakeParams { sample_rate_hz: rate_hz, n_channels: channels.into(), channel: ChannelSelect::Mix };
    let mut intake = Intake::new(params).expect("the wire's formats are among those of the intake");
    let (mut interleaved, mut mono) = (Vec::new(), Vec::new());
    // Frames of any length: those of whole samples are accepted, others are refused.
    for frame in data.chunks(usize::from(high) * 16 + 1) {
        let Ok(n_samples) = format.n_samples(frame.len()) else { continue };
        interleaved.clear();
        format.decode(frame, &mut interleaved);
        assert_eq!(interleaved.len(), n_samples * usize::from(format.channels));
        intake.push(&interleaved, &mut mono).expect("whole frames were decoded");
    }
    let n_in = intake.n_frames_in();
    intake.finish(&mut mono);
    assert!(mono.iter().all(|sample| sample.is_finite()));
    let expected = (n_in as f64 * 16_000.0 / f64::from(rate_hz)).round();
    assert!((mono.len() as f64 - expected).abs() <= 1.0, "{} of {expected} samples", mono.len());
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("fuzz.toml");
    match Sources::new().file_text(path, text).load() {
        Ok(loaded) => {
            let again = Sources::new().file_text(path, &loaded.to_toml()).load();
            assert_eq!(again.expect("what is printed can be loaded").config, loaded.config);
        }
        Err(faults) => assert!(!faults.as_slice().is_empty() && !faults.to_string().is_empty()),
    }
}

/// An RTTM or UEM file.
pub fn rttm(bytes: &[u8]) {
    let _ = parse_uem("fuzz", bytes);
    let Ok(turns) = parse_rttm("fuzz", bytes) else { return };
    for turn in &turns {
        let _ = turn.end();
    }
    // What a field may not hold is written as `_`, once and for all.
    let text = write_rttm(&turns);
    let again = parse_rttm("fuzz", text.as_bytes()).expect("what is written can be read");
    assert_eq!(write_rttm(&again), text);
    let times = |turns: &[SpeakerTurn]| turns.iter().map(|t| (t.start, t.duration)).collect::<Vec<_>>();
    assert_eq!(times(&again), times(&turns));
}

/// Labels as JSON: what `label` writes and what the server sends, as `eval` reads them.
pub fn event_log(bytes: &[u8]) {
    match diarized::commands::eval::read_event_log("fuzz", bytes) {
        Ok(turns) => assert!(turns.iter().all(|turn| turn.span.start <= turn.span.end)),
        Err(fault) => assert!(fault.to_string().starts_with("fuzz:"), "{fault}"),
    }
}

/// Counts of speakers, as `eval count` reads them.
pub fn counts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match diarized::commands::eval::read_count_lines("fuzz", text) {
        Ok(counts) => {
            let is_sure = |confidence: f32| (0.0..=1.0).contains(&confidence);
            assert!(counts.values().all(|line| line.confidence.is_none_or(is_sure)));
            let sum = counts.values().try_fold(0_usize, |sum, line| sum.checked_add(line.speakers));
            assert!(sum.is_some(), "counts can be added up");
        }
        Err(fault) => assert!(fault.to_string().starts_with("fuzz:"), "{fault}"),
    }
}

/// A correction as it is kept: what it holds of the labels is undone and made again, or refused.
pub fn stored_correction(bytes: &[u8]) {
    let Ok(entry) = serde_json::from_slice::<StoredCorrection>(bytes) else { return };
    let text = serde_json::to_string(&entry).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<StoredCorrection>(&text).expect("and read again"), entry);
    for step in [&entry.undo, &entry.redo] {
        let Ok(restoration) = step.restoration() else { continue };
        let mut state = labels();
        for event in restoration.events(&state).unwrap_or_default() {
            state.apply(&event).expect("what is restored fits the labels");
        }
    }
}

/// The voices of a session that goes on: what can be read is written and read again, and a diarizer goes on with it to its
/// end.
pub fn voice_memory(bytes: &[u8]) {
    let card = voice_memory_card();
    let voices = match VoiceMemory::parse(bytes, &card, Some(&card)) {
        Ok(voices) => voices,
        Err(error) => return assert!(error.to_string().chars().count() < MAX_FAULT_CHARS, "{error}"),
    };
    let again = VoiceMemory::parse(&voices.to_bytes(), &card, Some(&card))
        .expect("what was read can be written and read again");
    assert_eq!(again.to_bytes(), voices.to_bytes());
    let state = labels();
    let at = state.segments().map(|segment| segment.range.end()).max().unwrap_or_default();
    let last_segment = state.segments().map(|segment| segment.id).max().unwrap_or(SegmentId(0));
    let before = Continuation { state, at, last_segment, last_speaker: SpeakerId(9), voices: Some(voices) };
    let mut followed = before.state.clone();
    let options =
        DiarizerOptions { vad_mode: SpeechDetector::WebRtc { mode: 3 }, ..DiarizerOptions::default() };
    let params = DiarizerParams::try_new(options).expect("the options are valid");
    let mut diarizer = Diarizer::continuing(params, &card, before);
    diarizer.finish();
    while let Some(timed) = diarizer.poll_event() {
        followed.apply(&timed.event).expect("events fit the labels");
    }
    assert_eq!(&followed, diarizer.state());
}

/// A card without evidence of its own.
pub fn voice_memory_card() -> ModelCard {
    let text = include_str!("../../models/zoo/nexttdnn-c128-b122/model.toml").replace("plda_dim = 128\n", "");
    ModelCard::parse(&text).expect("the card in the repository is valid")
}

/// Labels of two people.
fn labels() -> SessionState {
    const SNAPSHOT: &str = r#"{"type": "snapshot", "session": "a", "seq": 4, "at": 9.0, "live": false, "source": "stream",
        "speakers": [{"id": "S1", "name": "Ada", "first_s": 0.5}, {"id": "S2", "first_s": 3.0}], "gaps": [], "segments": [
        {"id": 1, "start": 0.5, "end": 2.0, "speaker": "S1", "confidence": 0.9, "final": true},
        {"id": 2, "start": 3.0, "end": 5.0, "speaker": "S2", "confidence": 0.9, "final": true},
        {"id": 3, "start": 6.0, "end": 7.0, "speaker": "S1", "confidence": 0.9, "final": true}]}"#;
    match ServerMessage::parse(SNAPSHOT).expect("a snapshot of the document's form").body {
        Body::Snapshot(snapshot) => snapshot.to_state().expect("its labels fit together"),
        other => unreachable!("{other:?}"),
    }
}

/// A `model.toml` of a voice model or of a segmentation model, and the front end that the first describes.
pub fn model_card(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = segmentation::check_card(text);
    let Ok(card) = ModelCard::parse(text) else { return };
    for window_ms in [0, 1000, 1500, u32::MAX] {
        let calibration = card.calibration(window_ms);
        assert!(calibration.llr(0.5).is_finite());
    }
    let mut rows = Vec::new();
    let n_frames = LogMel::new(card.front_end).transform(&[0.1; 4000], &mut rows);
    assert_eq!(rows.len(), n_frames * card.front_end.n_mels());
}

/// Packets of an MQTT broker, one after the other.
pub fn mqtt_packet(bytes: &[u8]) {
    assert!(diarized::outgoing::read_packets(bytes) <= bytes.len());
}

/// What one node of a cluster reads of another: a message of a session's subject, a record, a question, an answer.
pub fn cluster_message(bytes: &[u8]) {
    diarized::cluster::read_values(bytes);
    audio_message(bytes);
    let Ok(Some(content)) = Assembler::default().take(bytes) else { return };
    let (mut assembler, mut again) = (Assembler::default(), None);
    for message in content.to_messages() {
        again = assembler.take(&message).expect("what was read can be read again");
    }
    assert_eq!(again.as_ref(), Some(&content));
}

/// A message of a session's audio.
fn audio_message(bytes: &[u8]) {
    let format = AudioFormat { channels: 3, ..AudioFormat::default() };
    let Ok(message) = AudioMessage::parse(&bytes.to_vec().into(), format) else { return };
    assert_eq!(AudioMessage::parse(&message.to_bytes(format), format), Ok(message.clone()));
    let (first, end) = (message.first, message.end(format));
    // Cut anywhere it is as long as what comes after.
    for position in [0, first, first + (end - first) / 2, end, u64::MAX] {
        let left = match message.clone().after(position, format) {
            Some(AudioPiece::Audio(bytes)) => (bytes.len() / format.step_bytes()) as u64,
            Some(AudioPiece::Gap { n, .. }) => n,
            _ => 0,
        };
        assert_eq!(left, end.saturating_sub(position.max(first)));
    }
}

/// What one node of a cluster reads of another's voices, once it is opened.
pub fn shared_voice(bytes: &[u8]) {
    let Ok((model, version)) = Version::parse(bytes) else { return };
    let again = Version::parse(&version.to_json(&model)).expect("what was read can be read again");
    assert_eq!(again, (model, version.clone()));
    // Whatever it holds, joining it again changes nothing.
    let joined = version.clone().join(version.clone());
    assert_eq!(joined.clone().join(version.clone()), joined);
    assert_eq!(version.join(joined.clone()), joined);
}

/// Answers of a speech recogniser, as each of the protocols reads them.
pub fn recogniser(bytes: &[u8]) {
    assert!(diarized::asr::read_foreign(bytes) <= bytes.len());
}

/// Requests of clients of other protocols.
pub fn dialect(bytes: &[u8]) {
    let is_vosk = diarized::vosk::read_foreign(bytes);
    let is_deepgram = diarized::deepgram::read_foreign(bytes);
    assert!(!(is_vosk || is_deepgram) || serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
}

/// A whole session over a socket: see `whole_session`.
pub fn session(bytes: &[u8]) {
    whole_session::drive(bytes);
}
