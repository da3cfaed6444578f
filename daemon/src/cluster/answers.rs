//! Answers what other nodes ask about the sessions of this one.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use diarized_models::words::NewWord;
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::ask::{Answer, Ask, What};
use super::link::Link;
use super::node::Own;
use super::publishers::Publishers;
use crate::hub::Hub;
use crate::session::{Command, Session};

/// Questions that are answered at once; more wait.
const AT_ONCE: usize = 64;
/// Wait before the questions are listened for again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers for ever, once the name of this node is `held`.
pub(super) async fn run(
    link: Arc<Link>,
    hub: Arc<Hub>,
    own: Arc<Own>,
    publishers: Arc<Publishers>,
    mut held: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // The sender is gone at the end of the process.
    let _ = held.wait_for(|held| *held).await;
    loop {
        if let Ok(mut asked) = link.client().subscribe(link.names.ask(&own.name)).await {
            while let Some(message) = asked.next().await {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let (link, hub, publishers) = (Arc::clone(&link), Arc::clone(&hub), Arc::clone(&publishers));
                tokio::spawn(async move {
                    reply(&link, &hub, &publishers, message).await;
                    drop(place);
                });
            }
        }
        sleep(AGAIN).await;
    }
}

async fn reply(link: &Link, hub: &Hub, publishers: &Publishers, message: Message) {
    let Some(to) = message.reply.clone() else { return };
    let answer = match Ask::parse(&message.payload) {
        Ok(ask) => answer(hub, publishers, ask).await,
        Err(reason) => Answer::Failed(reason),
    };
    let json = serde_json::to_vec(&answer).expect("texts and finite numbers have a JSON form");
    // The asking node gives up by itself.
    let _ = link.client().publish(to, json.into()).await;
}

async fn answer(hub: &Hub, publishers: &Publishers, ask: Ask) -> Answer {
    let found = match ask.what {
        // Only a session in memory can be stopped.
        What::HandOver => Ok(hub.get(&ask.session)),
        _ => hub.look_for(&ask.session).await,
    };
    let session = match found {
        Ok(Some(session)) => session,
        Ok(None) => return Answer::NotFound,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let outcome = match ask.what {
        What::HandOver => {
            return match publishers.hand_over(&session).await {
                Ok(true) => done(&session),
                Ok(false) => Answer::Leaving,
                Err(reason) => Answer::Refused(reason),
            };
        }
        What::Delete => {
            return match hub.forget(session.id()).await {
                Ok(true) => done(&session),
                Ok(false) => Answer::NotFound,
                Err(error) => Answer::Failed(error.to_string()),
            };
        }
        What::Finalize => {
            if let Ok(outcome) = session.input().command(Command::Finalize).await {
                let _ = outcome.await;
            }
            Ok(())
        }
        What::Correct { how, by } => hub.correct(&session, how.correction(), by).await,
        What::Words { words, is_final } => {
            let Some(words) = words.into_iter().map(|word| word.word()).collect::<Option<Vec<NewWord>>>()
            else {
                return Answer::Failed("the times of a word are not in order".to_owned());
            };
            hub.add_words(&session, words, is_final).await
        }
    };
    match outcome {
        Ok(()) => done(&session),
        Err(error) => Answer::of(error),
    }
}

fn done(session: &Session) -> Answer {
    Answer::Done { seq: session.channel().last_seq(), safe_s: session.safe_s() }
}
