//! Recognised words: by every way in, with their speakers, to everybody.

use super::corrections::post;
use super::*;

const HELLO: &str = r#"{"type":"words","words":[{"start":0.05,"end":0.2,"text":"hello","confidence":0.9}]}"#;

/// The words of a state: id, text, speaker.
fn spoken(state: &SessionState) -> Vec<(u64, String, Option<String>)> {
    let speaker = |word: &diarized_models::events::Word| word.spoken_by.map(|by| by.speaker.to_string());
    state.words().map(|word| (word.id.0, word.text.to_string(), speaker(word))).collect()
}

fn word(id: u64, text: &str, speaker: Option<&str>) -> (u64, String, Option<String>) {
    (id, text.to_owned(), speaker.map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_come_by_every_way_and_follow_the_labels() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    let mut subscriber = server.ws("/v1/events?session=a").await;
    let mut messages = subscriber.until("snapshot").await;
    // Before the audio, and of both kinds.
    publisher
        .send(&HELLO.replace("}]}", "},{\"start\":1.4,\"end\":1.5,\"text\":\"al\"}],\"final\":false}"))
        .await;
    messages.extend(subscriber.until("words").await);
    subscriber.send(HELLO).await;
    messages.extend(subscriber.until("words").await);
    assert_eq!(spoken(&replay(&messages)), [word(1, "hello", None)]);
    // Speaker 1, then speaker 3, who proves to be speaker 1 when the segment ends.
    publisher.audio(script(&[(0.1, 5), (0.0, 5), (0.3, 5)])).await;
    while spoken(&replay(&messages))[0].2.is_none() {
        messages.push(subscriber.next().await);
    }
    let later =
        r#"{"words":[{"start":1.2,"end":1.3,"text":"three"},{"start":30.0,"end":30.5,"text":"far"}]}"#;
    assert_eq!(post(&server, "/v1/sessions/a/words", later).await.0, 204);
    while replay(&messages).words().len() < 3 {
        messages.push(subscriber.next().await);
    }
    let expected = [word(1, "hello", Some("S1")), word(3, "three", Some("S3")), word(4, "far", None)];
    // The label of the first may still come.
    while spoken(&replay(&messages)) != expected {
        messages.push(subscriber.next().await);
    }
    publisher.audio(script(&[(0.0, 3)])).await;
    publisher.send(r#"{"type":"close"}"#).await;
    messages.extend(subscriber.rest().await.0);
    let state = replay(&messages);
    let expected = [word(1, "hello", Some("S1")), word(3, "three", Some("S1")), word(4, "far", None)];
    assert_eq!(spoken(&state), expected, "a revision gives them their new speaker");
    let (_, snapshot) = server.http("GET", "/v1/sessions/a").await;
    assert_eq!(replay(&[ServerMessage::parse(&snapshot).unwrap()]), state);
    let (all, _) = publisher.rest().await;
    assert_eq!(replay(&all), state, "the publisher gets the same");

    let (_, text) = server.http("GET", "/v1/sessions/a.txt").await;
    assert_eq!(text, "0:00.1  S1: hello three\n0:30.0  ?: far\n");
    let (_, srt) = server.http("GET", "/v1/sessions/a.srt").await;
    assert!(srt.contains("00:00:00,050 --> 00:00:01,300\nS1: hello three\n"), "{srt}");
    let (status, answer) = server.http("GET", "/v1/sessions/a.doc").await;
    assert!(status == 404 && answer.contains("srt, txt and vtt"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_taken_after_the_end_as_well() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    publisher.send(r#"{"type":"close"}"#).await;
    let (_, code) = publisher.rest().await;
    assert_eq!(code, Some(1000));
    let mut all = server.ws("/v1/events?session=*").await;
    let mut stays = server.ws("/v1/events?session=a&stay=true").await;
    let mut events = stays.until("snapshot").await;
    let words = |text: &str| format!(r#"{{"words":[{{"start":0.1,"end":0.2,"text":"{text}"}}]}}"#);
    assert_eq!(post(&server, "/v1/sessions/a/words", &words("hello")).await, (204, String::new()));
    assert_eq!(post(&server, "/v1/sessions/a/words", &words("hello")).await, (204, String::new()), "no harm");
    stays.send(&words("there").replacen('{', r#"{"type":"words","#, 1)).await;
    events.extend(stays.until("words").await);
    events.extend(stays.until("words").await);
    all.until("words").await;
    let (status, answer) =
        post(&server, "/v1/sessions/a/words", r#"{"words":[{"start":500,"end":501,"text":"a"}]}"#).await;
    assert!(status == 409 && answer.contains("after the audio received (0.3"), "{answer}");
    let (_, json) = server.http("GET", "/v1/sessions/a").await;
    let Body::Snapshot(now) = ServerMessage::parse(&json).unwrap().body else { panic!("{json}") };
    assert_eq!(replay(&events), now.to_state().unwrap());
    let texts: Vec<_> = now.words.iter().map(|word| (word.text.as_str(), word.speaker.as_deref())).collect();
    assert_eq!(texts, [("hello", Some("S1")), ("there", Some("S1"))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_cannot_be_taken_are_refused_whole() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let one = |word: &str| format!(r#"{{"words":[{{"start":0.1,"end":0.2,"text":"ok"}},{word}]}}"#);
    let many = vec![r#"{"start":0.1,"end":0.2,"text":"a"}"#; 1001].join(",");
    for (body, status, code, reason) in [
        (
            one(r#"{"start":2,"end":1,"text":"a"}"#),
            400,
            "bad_message",
            "words[1].end (1) must not be before its start (2)",
        ),
        (one(r#"{"start":0,"end":90,"text":"a"}"#), 400, "bad_message", "at most 60 s after it"),
        (one(r#"{"start":-1,"end":1,"text":"a"}"#), 400, "bad_message", "words[1].start (-1)"),
        (one(r#"{"start":0,"end":1,"text":"\u0007"}"#), 400, "bad_message", "U+0007"),
        (one(r#"{"start":0,"end":1,"text":"  "}"#), 400, "bad_message", "1 to 200 characters"),
        (
            one(r#"{"start":0,"end":1,"text":"a","confidence":2}"#),
            400,
            "bad_message",
            "words[1].confidence (2)",
        ),
        (one(r#"{"start":0,"end":1}"#), 400, "bad_message", "missing field `text`"),
        (one(r#"{"start":0,"end":1,"text":"a","speaker":"S1"}"#), 400, "unknown_field", "`speaker`"),
        (one(r#"{"start":500,"end":501,"text":"a"}"#), 409, "refused", "after the audio received (0.3"),
        (format!(r#"{{"words":[{many}]}}"#), 400, "bad_message", "1001 of them"),
        (r#"{"words":[]}"#.to_owned(), 400, "bad_message", "must not be empty"),
        (r#"{"final":false}"#.to_owned(), 400, "bad_message", "missing field `words`"),
    ] {
        let (got, answer) = post(&server, "/v1/sessions/a/words", &body).await;
        let error = ServerMessage::parse(&answer).unwrap_or_else(|e| panic!("{body}: {e}: {answer}"));
        let Body::Error(error) = error.body else { panic!("{body}: {answer}") };
        assert_eq!((got, error.code.as_str()), (status, code), "{body}: {}", error.reason);
        assert!(error.reason.contains(reason), "{body}: {}", error.reason);
    }
    publisher.send(r#"{"type":"words","words":[{"start":500,"end":501,"text":"a"}]}"#).await;
    let refused = publisher.until("error").await;
    assert_eq!((error(&refused).code, error(&refused).fatal), (ErrorCode::Refused, false));
    // Nothing of all that was taken, and the session goes on.
    assert_eq!(server.hub.get("a").unwrap().channel().now().state.words().len(), 0);
    publisher.send(HELLO).await;
    publisher.until("words").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_words_is_held_back_and_others_go_on() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let words: Vec<_> =
        (0..1000).map(|n| format!(r#"{{"start":{0},"end":{0},"text":"w"}}"#, f64::from(n) * 0.05)).collect();
    let body =
        |n: u32| format!(r#"{{"words":[{}]}}"#, words.join(",").replace("\"w\"", &format!("\"w{n}\"")));
    let mut answers = Vec::new();
    for n in 0..25 {
        answers.push(post(&server, "/v1/sessions/a/words", &body(n)).await);
    }
    let n_taken = answers.iter().filter(|(status, _)| *status == 204).count();
    assert!((1..25).contains(&n_taken), "{n_taken}");
    assert!(
        answers.iter().any(|(status, why)| matches!(status, 409 | 429) && why.contains("words")),
        "{answers:?}"
    );
    let n_held = server.hub.get("a").unwrap().channel().now().state.words().len();
    assert_eq!(n_held, n_taken * 1000);
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
}
