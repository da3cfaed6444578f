use super::*;
use crate::calibration::CALIBRATION;
use crate::diarizer::front_end::FrameMeasures;
use crate::diarizer::labelling::{Labeller, made};
use crate::diarizer::params::DiarizerOptions;
use crate::diarizer::tests::noise;
use crate::embedding::Embedding;
use crate::events::Event;
use crate::plda::Plda;

const DIM: usize = 64;

#[test]
fn lapses_are_bridged_and_the_ends_are_kept() {
    let mut odds = vec![-4.0_f32; 200];
    odds[40..70].fill(3.0);
    odds[82..120].fill(3.0);
    odds[180..].fill(3.0);
    let found = overlaps(&odds, 0.0);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].start.abs_diff(40) <= 5 && found[0].end.abs_diff(120) <= 5, "{found:?}");
    assert_eq!(found[1].end, 200);
    assert!(overlaps(&odds, 3.5).is_empty());
}

/// A stretch in segment 1, with segments near it and their distance in seconds.
fn stretch(near: &[(u64, f32)]) -> Stretch {
    let near = near.iter().map(|(id, distance_s)| (SegmentId(*id), *distance_s)).collect();
    let range = SampleRange::new(SampleIndex(0), SampleIndex(16_000));
    Stretch { range, host: SegmentId(1), id: None, odds: 3.0, sum: vec![0.0; 2], weight: 1.0, near }
}

#[test]
fn the_nearest_speaker_is_second_unless_another_fits_much_better() {
    // Segments 1 and 4 are of the first speaker.
    let state = made::state(&[(1, 1, 0.0, 2.0), (2, 2, 2.0, 3.0), (3, 3, 8.0, 9.0), (4, 1, 3.0, 4.0)]);
    let second = |stretch: &Stretch, fit_of_3| {
        stretch.best_speaker(&state, |speaker| if speaker == SpeakerId(3) { fit_of_3 } else { 0.0 })
    };
    let both = stretch(&[(4, 0.0), (3, 7.0), (2, 1.0)]);
    let (nearest, sure) = second(&both, 0.0).unwrap();
    assert_eq!(nearest, SpeakerId(2));
    let (fitting, surer) = second(&both, 6.0).unwrap();
    assert_eq!(fitting, SpeakerId(3));
    assert!(0.5 < sure && sure < surer && surer < 1.0, "{sure} {surer}");
    assert_eq!(second(&stretch(&[(4, 0.0)]), 0.0), None, "nobody overlaps with themselves");
    assert_eq!(
        second(&stretch(&[(2, 0.0), (3, 0.0)]), 0.0).unwrap().0,
        SpeakerId(2),
        "the lower id of equals"
    );
}

#[test]
fn overlap_that_may_go_on_waits() {
    let (second_voices, mut zone) = (SecondVoices::default(), made::zone(&[(made::ANN, Some(1)); 20]));
    zone.unsettled_segments = vec![SegmentId(1)];
    let state = made::state(&[(1, 1, 0.0, 5.0)]);
    zone.frames.overlap = [vec![-4.0; 100], vec![4.0; 100], vec![-4.0; 200]].concat();
    let rules = OverlapRules { onset: 0.0, dim: made::DIM };
    let settled = |until_s: f64, closing| {
        let (stretches, done) = second_voices.settled(&zone, &state, made::at(until_s), closing, rules);
        (stretches.len(), done.seconds())
    };
    assert_eq!(settled(3.0, false), (0, 3.0), "its segment is not settled");
    let (_, done) = settled(1.8, false);
    assert!((done - 1.0).abs() < 0.1, "{done}");
    assert_eq!(settled(1.8, true).1, 1.8);
    let early = second_voices.unsettled(&zone, &state, rules);
    assert_eq!(early.len(), 1);
    assert!(early[0].range.duration_s() > 0.9 && early[0].weight > 3.0, "{early:?}");
}

/// Two people in two regions of speech, 0 to 12 s and 14 to 20 s: they overlap where one follows the other, and once
/// in the middle of a turn.
const TURNS: [(f64, f64, usize); 4] = [(0.0, 6.5, 0), (5.5, 12.0, 1), (14.0, 20.0, 0), (17.6, 18.6, 1)];
const REGIONS: [(u64, u64); 2] = [(0, 1200), (1400, 2000)];

fn speaks(frame: u64, voice: usize) -> bool {
    let middle = (frame as f64 + 0.5) / 100.0;
    TURNS.iter().any(|(start, end, who)| *who == voice && (*start..*end).contains(&middle))
}

fn embedding(first: u64, end: u64) -> Embedding {
    let mut values = vec![0.0_f32; DIM];
    for voice in 0..2 {
        let share = (first..end).filter(|f| speaks(*f, voice)).count() as f32 / (end - first) as f32;
        for (d, value) in values.iter_mut().enumerate() {
            *value += share * noise((voice * DIM + d) as u64 + 1_000_003);
        }
    }
    for (d, value) in values.iter_mut().enumerate() {
        *value += 0.4 * noise(first * 131 + end + d as u64 * 7919);
    }
    Embedding::from_raw(&values).expect("noise has a direction")
}

fn at(frame: u64) -> SampleIndex {
    SampleIndex(frame * FRAME_SAMPLES)
}

/// Runs the conversation; overlap is known 0.4 s late.
fn run(labeller: &mut Labeller) {
    for (start, end) in REGIONS {
        labeller.open_region(at(start + 30), at(start));
        let (mut levels_told, mut overlap_told) = (start, start);
        let mut tell = |labeller: &mut Labeller, levels: u64, overlap: u64| {
            let odds = |f: u64| if speaks(f, 0) && speaks(f, 1) { 4.0 } else { -4.0 };
            let db = vec![-30.0; (levels - levels_told) as usize];
            let overlaps: Vec<f32> = (overlap_told..overlap.max(overlap_told)).map(odds).collect();
            (levels_told, overlap_told) = (levels, overlap.max(overlap_told));
            let noise_db = Some(-60.0);
            labeller.add_frames(&FrameMeasures {
                db,
                overlap: overlaps,
                noise_db,
                ..FrameMeasures::default()
            });
        };
        for last in (start + 80..=end).step_by(25) {
            tell(labeller, last, last.saturating_sub(40).max(start));
            let first = last.saturating_sub(150).max(start);
            let support = SampleRange::new(at(first), at(last));
            labeller.add_window(
                at(last + 20),
                support,
                support.end(),
                Some((embedding(first, last), crate::diarizer::clustering::SecondEmbedding::None)),
                last - first == 150,
            );
        }
        tell(labeller, end, end);
        labeller.close_region(at(end + 60), at(end));
    }
}

fn labeller(overlap_onset: f32) -> Labeller {
    let options = DiarizerOptions { overlap_onset, min_speaker_ms: 1500, ..DiarizerOptions::default() };
    let params = DiarizerParams::try_new(options).expect("the options are valid");
    Labeller::new(params, Plda::isotropic(DIM), CALIBRATION)
}

/// The events so far; checks that they give the labeller's own state.
fn replay(labeller: &mut Labeller, state: &mut SessionState) {
    while let Some(emitted) = labeller.poll() {
        state.apply(&emitted.event).expect("events fit together");
    }
    assert_eq!(state, labeller.state());
}

fn speakers_at(state: &SessionState, frame: u64) -> Vec<SpeakerId> {
    let covers = |s: &&Segment| (s.range.start()..s.range.end()).contains(&at(frame));
    let mut speakers: Vec<SpeakerId> = state.segments().filter(covers).map(|s| s.speaker).collect();
    speakers.sort_unstable();
    speakers.dedup();
    speakers
}

#[test]
fn a_second_voice_is_labelled_where_two_speak() {
    let (mut labeller, mut state) = (labeller(0.5), SessionState::new());
    run(&mut labeller);
    replay(&mut labeller, &mut state);
    let (a, b) = (speakers_at(&state, 300)[0], speakers_at(&state, 1000)[0]);
    assert_ne!(a, b);
    for frame in [575, 625, 1800] {
        assert_eq!(speakers_at(&state, frame).len(), 2, "two people at {frame}: {state:?}");
    }
    for (frame, who) in [(300, a), (1000, b), (1500, a), (1950, a)] {
        assert_eq!(speakers_at(&state, frame), [who], "one person at {frame}");
    }
    let second: Vec<&Segment> = state.segments().filter(|s| s.overlap).collect();
    assert!(!second.is_empty() && second.iter().all(|s| s.is_final && s.confidence > 0.5), "{second:?}");
    labeller.finish(at(2100));
    replay(&mut labeller, &mut state);
    assert_eq!(speakers_at(&state, 1800).len(), 2);
}

#[test]
fn a_second_voice_is_shown_before_it_is_settled() {
    let (mut labeller, mut state) = (labeller(0.5), SessionState::new());
    run(&mut labeller);
    let emitted: Vec<_> = std::iter::from_fn(|| labeller.poll()).collect();
    emitted.iter().for_each(|emitted| state.apply(&emitted.event).expect("events fit together"));
    let of_overlap = |frame: u64| {
        emitted.iter().find_map(|emitted| match &emitted.event {
            Event::Segment(s) if s.overlap && (s.range.start()..s.range.end()).contains(&at(frame)) => {
                Some((emitted.at, s))
            }
            _ => None,
        })
    };
    // In the middle of a turn, long before that is settled.
    let (when, shown) = of_overlap(1790).expect("two people speak there");
    assert!(!shown.is_final && when <= at(1790 + 120), "{when} {shown:?}");
    let settled = state.segment(shown.id).expect("it is not withdrawn");
    assert!(settled.is_final && settled.overlap && settled.speaker == shown.speaker, "{settled:?}");
}

#[test]
fn nobody_is_second_where_that_is_not_asked_for() {
    let (mut labeller, mut state) = (labeller(1.0), SessionState::new());
    run(&mut labeller);
    labeller.finish(at(2100));
    replay(&mut labeller, &mut state);
    assert!(state.segments().all(|s| !s.overlap));
    assert_eq!(speakers_at(&state, 1800).len(), 1);
}

#[test]
fn a_second_voice_goes_when_there_is_only_one_person() {
    let (mut labeller, mut state) = (labeller(0.5), SessionState::new());
    run(&mut labeller);
    replay(&mut labeller, &mut state);
    let (a, b) = (speakers_at(&state, 300)[0], speakers_at(&state, 1000)[0]);
    labeller.merge(b, a).expect("both are there");
    replay(&mut labeller, &mut state);
    assert!(state.segments().all(|s| !s.overlap), "nobody overlaps with themselves: {state:?}");
}

#[test]
fn a_second_voice_follows_the_labels_and_a_person_has_the_last_word() {
    let (mut labeller, mut state) = (labeller(0.5), SessionState::new());
    run(&mut labeller);
    replay(&mut labeller, &mut state);
    let inside = |s: &&Segment| s.overlap && (s.range.start()..s.range.end()).contains(&at(1800));
    let second = state.segments().find(inside).expect("two people speak there").clone();
    let host =
        state.segments().find(|s| !s.overlap && s.range.start() <= at(1800) && s.range.end() > at(1800));
    let (host, first) = host.map(|s| (s.id, s.speaker)).expect("somebody speaks there");
    // The first voice turns out to be the second one: then it is the other that is second.
    labeller.reassign(host, second.speaker).expect("both are there");
    replay(&mut labeller, &mut state);
    assert_eq!(state.segment(second.id).map(|s| s.speaker), Some(first));
    // A user's correction of the second voice stays.
    labeller.reassign(second.id, second.speaker).expect("both are there");
    labeller.finish(at(2100));
    replay(&mut labeller, &mut state);
    assert_eq!(state.segment(second.id).map(|s| s.speaker), Some(second.speaker));
}
