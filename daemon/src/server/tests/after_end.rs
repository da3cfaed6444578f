//! Sessions that are corrected after their end, and corrections that are undone.

use super::corrections::post;
use super::*;
use crate::session::scripted::script;

/// A session `id` that has ended: segments of S1, S2 and S1 again.
async fn ended_session(server: &Running, id: &str) -> ServerMessage {
    let mut publisher = server.publisher(id).await;
    publisher.audio(script(&[(0.1, 5), (0.0, 2), (0.2, 5), (0.0, 2), (0.1, 5)])).await;
    publisher.send(r#"{"type":"close"}"#).await;
    let (all, code) = publisher.rest().await;
    assert_eq!(code, Some(1000));
    all.into_iter().rfind(|message| message.seq.is_some()).unwrap()
}

async fn correct(server: &Running, what: &str, body: &str) -> (u16, String) {
    post(server, &format!("/v1/sessions/a/{what}"), body).await
}

async fn snapshot(server: &Running) -> crate::protocol::server_message::Snapshot {
    let (_, json) = server.http("GET", "/v1/sessions/a").await;
    match ServerMessage::parse(&json).unwrap().body {
        Body::Snapshot(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

fn speakers(snapshot: &crate::protocol::server_message::Snapshot) -> Vec<String> {
    snapshot.segments.iter().map(|s| s.name.clone().unwrap_or_else(|| s.speaker.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_correction_is_made_after_the_end_and_reaches_every_follower() {
    let server = serve().await;
    let mut all = server.ws("/v1/events?session=*").await;
    let end = ended_session(&server, "a").await;
    let mut stays = server.ws("/v1/events?session=a&stay=true").await;
    let before = stays.until("snapshot").await;
    let mut leaves = server.ws(&format!("/v1/events?session=a&since={}", end.seq.unwrap())).await;
    assert_eq!(leaves.next_close().await, Some(1000), "without stay there is nothing to wait for");
    for (what, body) in [
        ("rename", r#"{"speaker":"S1","name":"Ada"}"#),
        ("reassign", r#"{"segment":3,"speaker":"S2"}"#),
        ("title", r#"{"title":"Weekly"}"#),
        ("note", r#"{"segment":2,"text":"who?\nask"}"#),
        ("split", r#"{"speaker":"S2","segments":[3]}"#),
        ("merge", r#"{"from":"S2","into":"S3"}"#),
    ] {
        assert_eq!(correct(&server, what, body).await, (204, String::new()), "{what}");
    }
    stays.send(r#"{"type":"rename","speaker":"S3","name":"Bob"}"#).await;
    let (mut events, mut n_corrections) = (before, 0);
    while n_corrections < 7 {
        events.push(stays.next().await);
        n_corrections += usize::from(matches!(events.last().unwrap().body, Body::Correction(_)));
    }
    let seqs: Vec<u64> = events.iter().filter_map(|message| message.seq).collect();
    let first = end.seq.unwrap();
    assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>(), "the numbers count on");
    let now = snapshot(&server).await;
    assert_eq!(speakers(&now), ["Ada", "Bob", "Bob"]);
    assert_eq!((now.title.as_deref(), now.notes[0].text.as_deref()), (Some("Weekly"), Some("who?\nask")));
    assert!(!now.live && now.undo.as_ref().is_some_and(|undo| undo.kind == "rename" && undo.id == 7));
    assert_eq!(replay(&events), now.to_state().unwrap());
    let followed = loop {
        let next = all.next().await;
        if let Body::Correction(correction) = &next.body
            && correction.id == 7
        {
            break next;
        }
    };
    assert_eq!(followed.seq, events.last().unwrap().seq, "who follows all sessions gets it too");
    let (_, rttm) = server.http("GET", "/v1/sessions/a.rttm").await;
    assert!(rttm.contains(" Bob ") && rttm.contains(" Ada "), "{rttm}");
    let (_, csv) = server.http("GET", "/v1/sessions/a.csv").await;
    assert!(csv.contains("\r\n0.700,1.200,S3,\"Bob\","), "{csv}");
    assert!(csv.contains("\"who?\nask\"\r\n"), "{csv}");
    let (_, written) = server.http("GET", "/v1/sessions/a.md").await;
    assert!(written.starts_with("# Weekly\n\n**Ada** (0:00.0)\n"), "{written}");
    assert!(written.contains("**Bob** (0:00.7)\n\n> who?\n> ask\n"), "{written}");
    let (_, list) = server.http("GET", "/v1/sessions/a/corrections").await;
    assert_eq!(list.matches("\"kind\"").count(), 7, "{list}");
    assert_eq!(server.shut_down().await, DrainReport::default(), "who stays does not hold up the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_are_undone_and_made_again_in_order() {
    let server = serve().await;
    ended_session(&server, "a").await;
    let mut states = vec![snapshot(&server).await];
    for (what, body) in [
        ("rename", r#"{"speaker":"S1","name":"Ada"}"#),
        ("merge", r#"{"from":"S1","into":"S2"}"#),
        ("split", r#"{"speaker":"S2","segments":[1]}"#),
        ("reassign", r#"{"segment":3,"speaker":"S3"}"#),
        ("title", r#"{"title":"Weekly"}"#),
        ("note", r#"{"text":"one"}"#),
        ("note", r#"{"id":1,"text":"two"}"#),
        ("note", r#"{"id":1,"text":""}"#),
        // With its only segment a speaker goes.
        ("reassign", r#"{"segment":2,"speaker":"S3"}"#),
    ] {
        assert_eq!(correct(&server, what, body).await, (204, String::new()), "{what} {body}");
        states.push(snapshot(&server).await);
    }
    assert_eq!(speakers(states.last().unwrap()), ["S3", "S3", "S3"]);
    let as_it_was = |now: &crate::protocol::server_message::Snapshot, n: usize| {
        let then = &states[n];
        assert_eq!((&now.title, &now.notes), (&then.title, &then.notes), "after {n}");
        assert_eq!(now.to_state().unwrap(), then.to_state().unwrap(), "after {n}");
    };
    for round in 0..2 {
        for n in (0..states.len() - 1).rev() {
            assert_eq!(correct(&server, "undo", "{}").await, (204, String::new()), "round {round}, {n}");
            as_it_was(&snapshot(&server).await, n);
        }
        let (status, answer) = correct(&server, "undo", "{}").await;
        assert!(status == 409 && answer.contains("no correction to undo"), "{status} {answer}");
        for n in 1..states.len() {
            assert_eq!(correct(&server, "redo", "{}").await, (204, String::new()), "round {round}, {n}");
            as_it_was(&snapshot(&server).await, n);
        }
    }
    let (status, answer) = correct(&server, "undo", r#"{"correction":2}"#).await;
    assert!(status == 409 && answer.contains("another one came since: 9 is"), "{status} {answer}");
    assert_eq!(correct(&server, "undo", r#"{"correction":9}"#).await.0, 204);
    assert_eq!(correct(&server, "title", r#"{"title":"Monthly"}"#).await.0, 204);
    assert_eq!(correct(&server, "redo", "{}").await.0, 409, "a new correction ends what can be redone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_session_undoes_its_corrections_too() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    publisher.audio(script(&[(0.1, 5), (0.0, 2), (0.2, 5)])).await;
    publisher.send(r#"{"type":"finalize"}"#).await;
    publisher.until("ack").await;
    let before = loop {
        let now = snapshot(&server).await;
        if now.segments.len() == 2 && now.segments.iter().all(|s| s.is_final) {
            break now;
        }
    };
    assert_eq!(correct(&server, "rename", r#"{"speaker":"S1","name":"Ada"}"#).await.0, 204);
    assert_eq!(correct(&server, "merge", r#"{"from":"S2","into":"S1"}"#).await.0, 204);
    let merged = snapshot(&server).await;
    assert_eq!(speakers(&merged), ["Ada", "Ada"]);
    assert_eq!(correct(&server, "undo", "{}").await.0, 204);
    publisher.send(r#"{"type":"close"}"#).await;
    publisher.rest().await;
    assert_eq!(correct(&server, "undo", "{}").await.0, 204, "also after the end");
    assert_eq!(snapshot(&server).await.to_state().unwrap(), before.to_state().unwrap());
    for _ in 0..2 {
        assert_eq!(correct(&server, "redo", "{}").await.0, 204);
    }
    assert_eq!(speakers(&snapshot(&server).await), ["Ada", "Ada"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_corrected_after_the_end_says_why() {
    let server = serve().await;
    ended_session(&server, "a").await;
    for (what, body, status, part) in [
        ("rename", r#"{"speaker":"S9","name":"Ada"}"#, 404, "S9"),
        ("rename", r#"{"speaker":"S1","name":"S7"}"#, 409, "reads like the label"),
        ("merge", r#"{"from":"S1","into":"S1"}"#, 409, "itself"),
        ("reassign", r#"{"segment":99,"speaker":"S1"}"#, 404, "99"),
        ("split", r#"{"speaker":"S1"}"#, 409, "name the segments"),
        ("split", r#"{"speaker":"S2","segments":[2]}"#, 409, "each side needs"),
        ("note", r#"{"id":5,"text":"x"}"#, 409, "no note 5"),
        ("note", r#"{"segment":99,"text":"x"}"#, 404, "99"),
        ("note", r#"{"text":"\u0007"}"#, 400, "U+0007"),
        ("undo", "{}", 409, "no correction to undo"),
        ("redo", "{}", 409, "no undone correction"),
        ("undo", r#"{"correction":-1}"#, 400, "`undo`"),
    ] {
        let (got, answer) = correct(&server, what, body).await;
        assert!(got == status && answer.contains(part), "{what} {body}: {got} {answer}");
    }
    assert_eq!(correct(&server, "merge", r#"{"from":"S2","into":"S1"}"#).await.0, 204);
    assert_eq!(correct(&server, "split", r#"{"speaker":"S1","segments":[2]}"#).await.0, 204);
    assert_eq!(speakers(&snapshot(&server).await), ["S1", "S3", "S1"], "no label is given twice");
    let mut stays = server.ws("/v1/events?session=a&stay=true").await;
    stays.until("snapshot").await;
    assert_eq!(server.http("DELETE", "/v1/sessions/a").await.0, 204);
    stays.send(r#"{"type":"title","title":"x"}"#).await;
    let error = error(&stays.until("error").await).clone();
    assert!(error.reason.contains("is deleted"), "{}", error.reason);
}
