//! Acts on what a client wants of a session beside taking audio, and answers it.

use std::sync::Arc;

use diarized_models::words::NewWord;
use tokio::sync::mpsc;

use super::command::Wanted;
use super::connection::{Connection, ConnectionClosed, ack, error};
use super::visitor::Visitor;
use super::writer::Outgoing;
use crate::protocol::server_message::Ack;
use crate::protocol::{ErrorCode, ServerMessage, whole_ms};
use crate::session::{Command, Correction, CorrectionError, Session};

impl Connection {
    /// Acts on what is wanted of a session; its outcome is sent when known.
    pub(super) async fn command(
        &mut self,
        session: &Arc<Session>,
        wanted: Wanted,
    ) -> Result<(), ConnectionClosed> {
        let correction = match wanted {
            Wanted::Finalize => return self.finalize(session).await,
            Wanted::Words { words, is_final } => return self.words(session, words, is_final).await,
            Wanted::Correct(correction) => correction,
        };
        let asker = Asker::of(&self.visitor, &correction);
        let (hub, by) = (Arc::clone(&self.shared.hub), self.visitor.author());
        let queued = Command::Correct { correction: correction.clone(), by: by.clone() };
        let queued = self.wait(session.input().command(queued)).await?;
        let (out, session) = (self.out.clone(), Arc::clone(session));
        let Ok(outcome) = queued else {
            // It takes no more input. Nothing is waited for, so corrections keep their order.
            let outcome = self.wait(hub.correct_ended(&session, correction, by)).await?;
            asker.tell(&out, &session, outcome).await;
            return Ok(());
        };
        tokio::spawn(async move {
            let outcome = match outcome.await {
                Ok(outcome) => outcome,
                Err(_) => hub.correct_ended(&session, correction, by).await,
            };
            asker.tell(&out, &session, outcome).await;
        });
        Ok(())
    }

    async fn finalize(&mut self, session: &Arc<Session>) -> Result<(), ConnectionClosed> {
        let Ok(outcome) = self.wait(session.input().command(Command::Finalize)).await? else {
            // The session has just ended, and the peer receives that event; or it is of another node.
            if session.elsewhere().is_some() {
                self.finalize_elsewhere(session);
            }
            return Ok(());
        };
        let (out, session) = (self.out.clone(), Arc::clone(session));
        tokio::spawn(async move {
            if let Ok(Ok(())) = outcome.await {
                let reply = ServerMessage::to_connection(Some(session.id()), ack(&session, true));
                let _ = out.send(Outgoing::Reply(reply)).await;
            }
        });
        Ok(())
    }

    fn finalize_elsewhere(&self, session: &Arc<Session>) {
        let (hub, out) = (Arc::clone(&self.shared.hub), self.out.clone());
        let session = Arc::clone(session);
        tokio::spawn(async move {
            match hub.act_elsewhere(&session, Command::Finalize).await {
                Ok(safe_s) => {
                    let ack = Ack { received_s: whole_ms(safe_s), finalized: true };
                    let reply = ServerMessage::to_connection(Some(session.id()), ack);
                    let _ = out.send(Outgoing::Reply(reply)).await;
                }
                Err(refusal) => tell(&out, &session, refusal).await,
            }
        });
    }

    /// Words show in their events; only a refusal is answered.
    async fn words(
        &mut self,
        session: &Arc<Session>,
        words: Vec<NewWord>,
        is_final: bool,
    ) -> Result<(), ConnectionClosed> {
        let queued = session.input().command(Command::Words { words: words.clone(), is_final });
        let queued = self.wait(queued).await?;
        let (hub, out) = (Arc::clone(&self.shared.hub), self.out.clone());
        let session = Arc::clone(session);
        let Ok(outcome) = queued else {
            if let Err(refusal) = self.wait(hub.add_words_ended(&session, &words, is_final)).await? {
                tell(&out, &session, refusal).await;
            }
            return Ok(());
        };
        tokio::spawn(async move {
            let added = match outcome.await {
                Ok(added) => added,
                Err(_) => hub.add_words_ended(&session, &words, is_final).await,
            };
            if let Err(refusal) = added {
                tell(&out, &session, refusal).await;
            }
        });
        Ok(())
    }
}

/// Who asked for what correction.
struct Asker {
    correction: &'static str,
    peer: String,
    token: String,
}

impl Asker {
    fn of(visitor: &Visitor, correction: &Correction) -> Self {
        let (peer, token) = (visitor.peer().to_owned(), visitor.token().to_owned());
        Self { correction: correction.kind(), peer, token }
    }

    /// Sends why a correction was not made. One that was made shows in its events; it is logged, too.
    async fn tell(
        &self,
        out: &mpsc::Sender<Outgoing>,
        session: &Session,
        outcome: Result<(), CorrectionError>,
    ) {
        let Self { correction, peer, token } = self;
        let Err(refusal) = outcome else {
            tracing::info!(session = session.id(), correction, peer, token, "a correction was made");
            return;
        };
        // Nobody limits how often a client asks for what is refused.
        tracing::debug!(session = session.id(), correction, peer, token, %refusal, "a correction was refused");
        tell(out, session, refusal).await;
    }
}

/// Sends why a correction or words were not taken.
async fn tell(out: &mpsc::Sender<Outgoing>, session: &Session, refusal: CorrectionError) {
    let code = match &refusal {
        CorrectionError::UnknownSpeaker(_) => ErrorCode::UnknownSpeaker,
        CorrectionError::UnknownSegment(_) => ErrorCode::UnknownSegment,
        CorrectionError::TooMany { .. }
        | CorrectionError::TooManyWords { .. }
        | CorrectionError::Refused { .. } => ErrorCode::Refused,
    };
    let _ = out.send(Outgoing::Reply(error(Some(session.id()), code, refusal, false))).await;
}
