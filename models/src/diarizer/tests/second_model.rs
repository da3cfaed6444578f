//! A second model: the last pass and the names are its own, live labels do not wait for it, and in step with the labels
//! nothing depends on when its embeddings come back.

use std::sync::Arc;

use super::*;
use crate::voiceprint::{
    Gallery, KnownVoice, MatchRules, ModelId, Print, PrintCalibration, PrintCalibrations, Recording,
};

/// The second model gives twice as many values.
fn second_card() -> ModelCard {
    let text = crate::builtin::CARD
        .replace("embedding_dim = 192", &format!("embedding_dim = {}", 2 * DIM))
        .replace("plda_dim = 128\n", "");
    let mut card = ModelCard::parse(&text).unwrap();
    card.onnx_sha256 = "2".repeat(64);
    let cell = PrintCalibration { enrol_s: 10.0, test_s: 10.0, scale: 25.0, offset: -12.0 };
    card.print_calibrations = PrintCalibrations::try_new(&[cell]).unwrap();
    card
}

fn doubled(embedding: &Embedding) -> Embedding {
    Embedding::from_raw(&[embedding.as_slice(), embedding.as_slice()].concat()).unwrap()
}

/// A conversation of three people that the first model takes for two.
struct Talk {
    script: Script,
    as_first_hears: Script,
    samples: Vec<f32>,
}

impl Talk {
    fn new() -> Self {
        let voices = [0, 1, 2, 0, 1, 2, 0, 1, 2];
        let turn = |(n, voice)| (0.5 + 5.0 * n as f64, 4.7 + 5.0 * n as f64, voice);
        let script: Script = voices.into_iter().enumerate().map(turn).collect();
        let as_first_hears = script.iter().map(|&(start, end, v)| (start, end, v.min(1))).collect();
        let samples = audio(&script, 46.0);
        Self { script, as_first_hears, samples }
    }

    fn first(&self, request: &EmbedRequest) -> Embedding {
        embedding(&self.as_first_hears, request.range)
    }

    fn second(&self, request: &EmbedRequest) -> Embedding {
        assert_eq!(request.features.len(), request.n_frames * 80);
        doubled(&embedding(&self.script, request.range))
    }

    fn diarizer(&self, pace: Option<SecondPace>) -> Diarizer {
        let diarizer = Diarizer::new(DiarizerParams::try_new(options()).unwrap(), &card());
        match pace {
            Some(pace) => diarizer.with_second_model(&second_card(), pace),
            None => diarizer,
        }
    }

    /// Everybody's print by the second model, by the names `P0`, `P1`, `P2`.
    fn gallery(&self) -> Arc<Gallery> {
        let card = second_card();
        let mut gallery = Gallery::new(&card, MatchRules { min_speech_s: 2.0, ..MatchRules::default() });
        for voice in 0..3 {
            let embedding = doubled(&Embedding::from_raw(&direction(voice)).unwrap());
            let recording = Recording { embedding, seconds: 30.0, weight: 1.0 };
            let print = Print::try_new(ModelId::of(&card), vec![recording]).unwrap();
            let (id, name) = (Arc::from(format!("v{voice}")), Arc::from(format!("P{voice}")));
            gallery.add(KnownVoice { id, name, print }).unwrap();
        }
        Arc::new(gallery)
    }

    fn answer_first(&self, diarizer: &mut Diarizer) {
        while let Some(request) = diarizer.poll_work() {
            diarizer.provide(request.id, Ok(self.first(&request))).unwrap();
        }
    }

    fn answer_second(&self, diarizer: &mut Diarizer) {
        while let Some(request) = diarizer.poll_second() {
            diarizer.provide_second(request.id, Ok(self.second(&request))).unwrap();
        }
    }
}

fn events(diarizer: &mut Diarizer) -> Vec<TimedEvent> {
    std::iter::from_fn(|| diarizer.poll_event()).collect()
}

fn n_speakers(diarizer: &Diarizer) -> usize {
    diarizer.state().speakers().count()
}

#[test]
fn the_last_pass_finds_whom_the_second_model_hears() {
    let talk = Talk::new();
    let mut diarizer = talk.diarizer(Some(SecondPace::InStep));
    for block in talk.samples.chunks(1600) {
        diarizer.push(block).unwrap();
        talk.answer_first(&mut diarizer);
        talk.answer_second(&mut diarizer);
    }
    assert_eq!(n_speakers(&diarizer), 2, "live labels are the first model's");
    diarizer.finish();
    talk.answer_first(&mut diarizer);
    talk.answer_second(&mut diarizer);
    assert!(diarizer.is_finished());
    assert_eq!(n_speakers(&diarizer), 3);
    assert!(purity(&talk.script, diarizer.state()) > 0.9);
}

#[test]
fn live_labels_do_not_wait_and_the_end_can_do_without() {
    let talk = Talk::new();
    let (mut with, mut without) = (talk.diarizer(Some(SecondPace::Behind)), talk.diarizer(None));
    for block in talk.samples.chunks(1600) {
        for diarizer in [&mut with, &mut without] {
            diarizer.push(block).unwrap();
            talk.answer_first(diarizer);
        }
        assert_eq!(events(&mut with), events(&mut without));
    }
    assert!((1..=70).contains(&with.n_second_unanswered()), "{}", with.n_second_unanswered());
    for diarizer in [&mut with, &mut without] {
        diarizer.finish();
        talk.answer_first(diarizer);
    }
    assert!(without.is_finished() && !with.is_finished());
    with.leave_out_second();
    assert!(with.is_finished());
    assert_eq!(events(&mut with), events(&mut without));
    // An answer that comes even later changes nothing.
    let late = with.provide_second(
        WorkId(0),
        Ok(doubled(&embedding(&talk.script, SampleRange::new(SampleIndex(0), SampleIndex(24_000))))),
    );
    assert_eq!((late, events(&mut with)), (Ok(()), Vec::new()));
}

#[test]
fn late_embeddings_give_the_same_labels() {
    let talk = Talk::new();
    let mut late = talk.diarizer(Some(SecondPace::Behind));
    let mut waiting = std::collections::VecDeque::new();
    for block in talk.samples.chunks(1600) {
        late.push(block).unwrap();
        talk.answer_first(&mut late);
        waiting.extend(std::iter::from_fn(|| late.poll_second()));
        // Ten windows, 5 s of speech, behind.
        while waiting.len() > 10 {
            let request = waiting.pop_front().unwrap();
            late.provide_second(request.id, Ok(talk.second(&request))).unwrap();
        }
    }
    late.finish();
    talk.answer_first(&mut late);
    waiting.extend(std::iter::from_fn(|| late.poll_second()));
    while let Some(request) = waiting.pop_back() {
        assert!(!late.is_finished());
        late.provide_second(request.id, Ok(talk.second(&request))).unwrap();
    }
    assert!(late.is_finished());
    let mut in_step = talk.diarizer(Some(SecondPace::InStep));
    in_step.push(&talk.samples).unwrap();
    in_step.finish();
    talk.answer_first(&mut in_step);
    talk.answer_second(&mut in_step);
    let segments = |diarizer: &Diarizer| diarizer.state().segments().cloned().collect::<Vec<_>>();
    assert_eq!(segments(&late), segments(&in_step));
    assert_eq!(n_speakers(&late), 3);
}

#[test]
fn people_are_recognised_by_the_second_model() {
    let talk = Talk::new();
    let mut diarizer = talk.diarizer(Some(SecondPace::Behind));
    diarizer.set_gallery(talk.gallery());
    let mut named_live = false;
    for block in talk.samples.chunks(1600) {
        diarizer.push(block).unwrap();
        talk.answer_first(&mut diarizer);
        talk.answer_second(&mut diarizer);
        named_live |= diarizer.state().speakers().any(|s| s.name.as_deref() == Some("P0"));
    }
    assert!(named_live, "names do not wait for the end");
    diarizer.finish();
    talk.answer_first(&mut diarizer);
    talk.answer_second(&mut diarizer);
    let mut names: Vec<_> = diarizer.state().speakers().filter_map(|s| s.name.as_deref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["P0", "P1", "P2"]);
    let speaker = diarizer.state().speakers().next().unwrap().id;
    assert_eq!(diarizer.voice_of(speaker).unwrap().embedding.dim(), 2 * DIM);
}

#[test]
fn what_the_second_model_has_seen_goes_on_in_another_diarizer() {
    let talk = Talk::new();
    let mut first = talk.diarizer(Some(SecondPace::Behind));
    // In a pause, after most of the talk.
    first.push(&talk.samples[..16_000 * 35]).unwrap();
    talk.answer_first(&mut first);
    talk.answer_second(&mut first);
    let bytes = first.voice_memory().to_bytes();
    let n_speakers_with = |second: Option<ModelCard>| {
        let voices = VoiceMemory::parse(&bytes, &card(), second.as_ref()).unwrap();
        assert_eq!(voices.to_bytes() == bytes, second.as_ref() == Some(&second_card()));
        let state = first.state().clone();
        let before = Continuation {
            at: first.labelled_until(),
            last_segment: state.segments().map(|s| s.id).max().unwrap(),
            last_speaker: state.speakers().map(|s| s.id).max().unwrap(),
            state,
            voices: Some(voices),
        };
        let at = before.at.0 as usize;
        let params = DiarizerParams::try_new(options()).unwrap();
        let mut going_on = Diarizer::continuing(params, &card(), before)
            .with_second_model(&second_card(), SecondPace::Behind);
        going_on.push(&talk.samples[at..]).unwrap();
        talk.answer_first(&mut going_on);
        talk.answer_second(&mut going_on);
        going_on.finish();
        talk.answer_first(&mut going_on);
        talk.answer_second(&mut going_on);
        assert!(going_on.is_finished());
        n_speakers(&going_on)
    };
    assert_eq!(n_speakers_with(Some(second_card())), 3);
    let other = ModelCard { onnx_sha256: "3".repeat(64), ..second_card() };
    assert_eq!((n_speakers_with(Some(other)), n_speakers_with(None)), (2, 2));
    let small = ModelCard { embedding_dim: DIM, ..second_card() };
    let fault = VoiceMemory::parse(&bytes, &card(), Some(&small)).unwrap_err();
    assert!(fault.to_string().contains("second model"), "{fault}");
}

#[test]
fn an_embedding_of_another_size_is_refused_and_a_failed_window_is_left_out() {
    let talk = Talk::new();
    let mut diarizer = talk.diarizer(Some(SecondPace::InStep));
    diarizer.push(&talk.samples[..16_000 * 6]).unwrap();
    let request = diarizer.poll_second().expect("somebody speaks");
    let fault = diarizer.provide_second(request.id, Ok(talk.first(&request)));
    assert_eq!(fault, Err(DiarizerError::Dimension { expected: 2 * DIM, got: DIM }));
    let n = diarizer.n_second_unanswered();
    diarizer.provide_second(request.id, Err(EmbedError::Inference("a test".to_owned()))).unwrap();
    assert_eq!(diarizer.n_second_unanswered(), n - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn in_step_neither_blocks_nor_answering_order_change_the_events(
        sizes in prop::collection::vec(1_usize..9000, 1..20),
        picks in prop::collection::vec(0_usize..100, 1..20),
    ) {
        let talk = Talk::new();
        let run = |mut size: Box<dyn FnMut() -> usize>, mut pick: Box<dyn FnMut() -> usize>| {
            let mut diarizer = talk.diarizer(Some(SecondPace::InStep));
            diarizer.set_gallery(talk.gallery());
            let (mut rest, mut emitted, mut waiting) = (&talk.samples[..], Vec::new(), Vec::new());
            while !diarizer.is_finished() {
                if rest.is_empty() {
                    diarizer.finish();
                } else {
                    let (block, tail) = rest.split_at(size().clamp(1, rest.len()));
                    diarizer.push(block).unwrap();
                    rest = tail;
                }
                talk.answer_first(&mut diarizer);
                waiting.extend(std::iter::from_fn(|| diarizer.poll_second()));
                while waiting.len() > if rest.is_empty() { 0 } else { 3 } {
                    let request: EmbedRequest = waiting.remove(pick() % waiting.len());
                    diarizer.provide_second(request.id, Ok(talk.second(&request))).unwrap();
                }
                emitted.extend(events(&mut diarizer));
            }
            emitted
        };
        let n = talk.samples.len();
        let expected = run(Box::new(move || n), Box::new(|| 0));
        let (mut i, mut j) = (0, 0);
        let got = run(
            Box::new(move || { i += 1; sizes[i % sizes.len()] }),
            Box::new(move || { j += 1; picks[j % picks.len()] }),
        );
        prop_assert_eq!(got, expected);
    }
}
