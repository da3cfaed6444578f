//! The limit of sessions, filled with sessions that wait for their publishers.

use tokio_tungstenite::tungstenite::http::header;

use super::*;
use crate::access::{Origins, Scope, Scopes, Tokens};
use crate::session::Source;

const N_SESSIONS: usize = 6;

/// A server for [`N_SESSIONS`] sessions, with three tokens.
struct Crowded {
    server: Running,
    tokens: Vec<String>,
    _folder: tempfile::TempDir,
}

async fn crowded() -> Crowded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let mut file = Tokens::default();
    let publish = || Scopes::from_iter([Scope::Publish]);
    let tokens = ["a", "b", "c"].map(|name| file.add(name, publish()).unwrap()).to_vec();
    file.save(&path).unwrap();
    let access = Arc::new(Access::with_tokens(path, Origins::new(Vec::new())).unwrap());
    let params = HubParams { max_sessions: N_SESSIONS, ..HubParams::default() };
    let server = serve_all("127.0.0.1:0", params, Limits::default(), access).await;
    Crowded { server, tokens, _folder: folder }
}

impl Crowded {
    /// A client with this token that asks for a session, and the first answer.
    async fn ask(&self, token: usize, id: &str) -> (Ws, ServerMessage) {
        let bearer = format!("Bearer {}", self.tokens[token]);
        let path = format!("/v1/stream?session={id}");
        let mut ws = self.server.ws_with(&path, &[(header::AUTHORIZATION, &bearer)]).await;
        let answer = ws.next().await;
        (ws, answer)
    }

    async fn open(&self, token: usize, id: &str) -> Ws {
        let (ws, answer) = self.ask(token, id).await;
        assert!(matches!(answer.body, Body::Started(_)), "{answer:?}");
        ws
    }

    async fn is_refused(&self, token: usize) {
        let (_ws, answer) = self.ask(token, "refused").await;
        assert_eq!(error(&[answer]).code, ErrorCode::TooManySessions);
    }

    /// Opens a session and breaks its connection.
    async fn abandon(&self, token: usize, id: &str) {
        drop(self.open(token, id).await);
        let session = self.server.hub.get(id).unwrap();
        timeout(PATIENCE, async {
            while session.waiting_since().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }

    fn live(&self) -> Vec<String> {
        let sessions = self.server.hub.sessions();
        let live = sessions.iter().filter(|session| session.channel().ended().is_none());
        live.map(|session| session.id().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_that_waits_longest_gives_way_to_a_new_one_of_its_token() {
    let crowded = crowded().await;
    let running = crowded.open(0, "running").await;
    for n in 0..3 * N_SESSIONS {
        crowded.abandon(0, &format!("a{n}")).await;
        assert!(crowded.live().len() <= N_SESSIONS);
    }
    let last: Vec<_> = (3 * N_SESSIONS - 5..3 * N_SESSIONS).map(|n| format!("a{n}")).collect();
    assert_eq!(crowded.live(), [vec!["running".to_owned()], last].concat());
    let first = crowded.server.hub.get("a0").unwrap();
    assert_eq!(first.channel().ended(), Some(EndReason::Disconnected));
    assert_eq!(crowded.server.hub.stats().displaced, 13);
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_wait_do_not_keep_other_tokens_out() {
    let crowded = crowded().await;
    for n in 0..N_SESSIONS {
        crowded.abandon(0, &format!("a{n}")).await;
    }
    let mut others = Vec::new();
    for n in 0..3 {
        others.push(crowded.open(1, &format!("b{n}")).await);
    }
    // As many each: those that are left stay, or the tokens would trade places for ever.
    assert_eq!(crowded.live(), ["a3", "a4", "a5", "b0", "b1", "b2"]);
    crowded.is_refused(1).await;
    others.push(crowded.open(2, "c0").await);
    crowded.is_refused(1).await;
    crowded.abandon(0, "a6").await;
    assert_eq!(crowded.live(), ["a5", "b0", "b1", "b2", "c0", "a6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_with_a_publisher_gives_way() {
    let crowded = crowded().await;
    let mut held = Vec::new();
    for n in 0..N_SESSIONS {
        held.push(crowded.open(0, &format!("a{n}")).await);
    }
    crowded.is_refused(0).await;
    crowded.is_refused(1).await;
    assert_eq!((crowded.live().len(), crowded.server.hub.stats().displaced), (N_SESSIONS, 0));
    // Nor does the limit keep the microphone out.
    let hub = &crowded.server.hub;
    let microphone = hub.open(Some("microphone-2026-01-02"), Source::Microphone, Default::default()).unwrap();
    assert!(microphone.channel().ended().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_who_has_come_back_keeps_the_session() {
    let crowded = crowded().await;
    let (ws, answer) = crowded.ask(0, "back").await;
    let Body::Started(started) = answer.body else { panic!("{answer:?}") };
    drop(ws);
    for n in 1..N_SESSIONS {
        crowded.abandon(0, &format!("a{n}")).await;
    }
    let bearer = format!("Bearer {}", crowded.tokens[0]);
    let path = format!("/v1/stream?resume=back&token={}", started.token);
    let mut ws = crowded.server.ws_with(&path, &[(header::AUTHORIZATION, &bearer)]).await;
    assert!(matches!(ws.next().await.body, Body::Started(_)));
    crowded.abandon(0, "new").await;
    assert_eq!(crowded.live(), ["back", "a2", "a3", "a4", "a5", "new"]);
}
