//! `/v1/events`: events of one session or of all, for any number of subscribers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::command::as_command;
use super::connection::{CLOSE_REQUESTED, Connection, ConnectionClosed, Received, accept};
use super::fault::unreadable_reason;
use super::shared::Shared;
use super::socket_request::SocketRequest;
use super::writer::{Feed, Outgoing};
use crate::access::{Denied, Scope};
use crate::hub::FollowAll;
use crate::protocol::lenient::{read_number, repeated};
use crate::protocol::{ClientMessage, ErrorCode};
use crate::session::{Cursor, Session};

pub(super) async fn upgrade(State(shared): State<Arc<Shared>>, request: SocketRequest) -> Response {
    let SocketRequest { query, visitor, upgrade } = request;
    accept(shared, upgrade, visitor, |connection| serve(connection, query))
}

/// What a query asks to follow.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    One { id: String, since: Option<u64>, stays: bool },
}

fn wanted(query: &[(String, String)]) -> Result<Wanted, (ErrorCode, String)> {
    if let Some(reason) = repeated(query) {
        return Err((ErrorCode::BadMessage, reason));
    }
    let (mut session, mut since, mut stays) = (None, None, false);
    for (key, value) in query {
        match key.as_str() {
            "session" => session = Some(value.clone()),
            "since" => match read_number(value) {
                Some(seq) => since = Some(seq),
                None => {
                    let reason = format!("since ({value:?}) must be the seq of an event");
                    return Err((ErrorCode::BadMessage, reason));
                }
            },
            "stay" => match value.as_str() {
                "true" => stays = true,
                "false" => stays = false,
                _ => {
                    let reason = format!("stay ({value:?}) must be true or false");
                    return Err((ErrorCode::BadMessage, reason));
                }
            },
            _ => {
                let reason = format!("unknown query parameter `{key}`, expected session, since, stay");
                return Err((ErrorCode::UnknownField, reason));
            }
        }
    }
    match session {
        None => {
            let reason = "which session? use session=ID, or session=* for all of them";
            Err((ErrorCode::BadMessage, reason.to_owned()))
        }
        Some(id) if id == "*" && since.is_some() => {
            let reason = "since counts the events of one session and does not go with session=*";
            Err((ErrorCode::BadMessage, reason.to_owned()))
        }
        Some(id) if id == "*" => Ok(Wanted::All),
        Some(id) => Ok(Wanted::One { id, since, stays }),
    }
}

async fn serve(mut connection: Connection, query: Vec<(String, String)>) {
    let shared = Arc::clone(&connection.shared);
    let wanted = match wanted(&query) {
        Ok(Wanted::One { id, since, stays }) => {
            find(&shared, id).await.map(|session| (Some(session), since, stays))
        }
        Ok(Wanted::All) => Ok((None, None, false)),
        Err(fault) => Err(fault),
    };
    let outcome = wanted.and_then(|(session, since, stays)| {
        let (key, session, feed) = match session {
            None => ("*".to_owned(), None, Feed::All(FollowAll::new(&shared.hub))),
            Some(session) => {
                let cursor = match since {
                    Some(seq) => Cursor::since(session.channel(), seq),
                    None => Cursor::from_now(session.channel()),
                };
                let cursor = if stays { cursor.staying() } else { cursor };
                (session.id().to_owned(), Some(session), Feed::One(cursor))
            }
        };
        let max = shared.limits.max_subscribers;
        let place = shared.metrics.subscribers.enter(&key, max).ok_or_else(|| {
            let reason = format!("the limit of {max} subscribers is reached (server.max_subscribers_per_session); try again later");
            (ErrorCode::TooManySubscribers, reason)
        })?;
        Ok((session, feed, place))
    });
    let followed = match outcome {
        Ok((session, feed, _place)) => follow(&mut connection, session, feed).await,
        Err((code, reason)) => connection.send_fatal(None, code, reason).await,
    };
    // Closed or not, the peer is given the time to read the last words.
    let _ = followed;
    connection.linger().await;
}

/// The session of this id, in memory or kept.
async fn find(shared: &Shared, id: String) -> Result<Arc<Session>, (ErrorCode, String)> {
    match shared.hub.find(&id).await {
        Ok(Some(session)) => Ok(session),
        Ok(None) => {
            let reason = format!("there is no session {id:?}; GET /v1/sessions lists them");
            Err((ErrorCode::NotFound, reason))
        }
        Err(error) => Err((ErrorCode::Internal, unreadable_reason(&error))),
    }
}

/// Delivers until either side has enough.
async fn follow(
    connection: &mut Connection,
    session: Option<Arc<Session>>,
    feed: Feed,
) -> Result<(), ConnectionClosed> {
    connection.send(Outgoing::Follow(feed)).await?;
    let session = session.as_ref();
    loop {
        match connection.recv(None).await? {
            Received::Text(text) => match ClientMessage::parse(&text) {
                Ok(ClientMessage::Close(_)) => return connection.send(CLOSE_REQUESTED).await,
                Ok(ClientMessage::KeepAlive(_)) => {}
                Ok(_) if !connection.visitor.identity.may(Scope::Publish) => {
                    let name = connection.visitor.identity.name().to_owned();
                    let denied = Denied::Scope { name, needed: Scope::Publish };
                    connection.send_error(session.map(Arc::as_ref), ErrorCode::Forbidden, denied).await?;
                }
                Ok(message) => match (as_command(message), session) {
                    (Ok(Ok(command)), Some(session)) => connection.command(session, command).await?,
                    (Ok(Err(error)), Some(session)) => {
                        connection.send_error(Some(session), ErrorCode::BadMessage, error).await?;
                    }
                    (Ok(_), None) => {
                        let reason = "a correction needs one session, not session=*";
                        connection.send_error(None, ErrorCode::NotHere, reason).await?;
                    }
                    (Err(other), _) => {
                        let reason = format!("`{}` belongs on /v1/stream", other.kind());
                        connection.send_error(session.map(Arc::as_ref), ErrorCode::NotHere, reason).await?;
                    }
                },
                Err(error) => connection.send_error_of(session.map(Arc::as_ref), &error).await?,
            },
            Received::Binary(_) => {
                let reason = "audio belongs on /v1/stream";
                connection.send_fatal(session.map(|s| s.id()), ErrorCode::NotHere, reason).await?;
                return connection.send(Outgoing::Close(ErrorCode::NotHere.close_code())).await;
            }
            Received::NotUtf8 => {
                let code = ErrorCode::BadMessage;
                connection.send_fatal(session.map(|s| s.id()), code, "a text frame is not UTF-8").await?;
                return connection.send(Outgoing::Close(code.close_code())).await;
            }
            Received::TooLarge(got) => {
                let (code, reason) = (ErrorCode::FrameTooLarge, connection.too_large(got));
                connection.send_fatal(session.map(|s| s.id()), code, reason).await?;
                return connection.send(Outgoing::Close(code.close_code())).await;
            }
            Received::TooMany => {
                let (code, reason) = (ErrorCode::TooManyMessages, connection.too_many_messages());
                connection.send_fatal(session.map(|s| s.id()), code, reason).await?;
                return connection.send(Outgoing::Close(code.close_code())).await;
            }
            Received::Revoked => return connection.revoke(session.map(|s| s.id())).await,
            Received::Safer => {}
            Received::Closed(_) | Received::Gone | Received::Idle => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_what_to_follow() {
        let ask = |query: &[(&str, &str)]| {
            let query: Vec<_> = query.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            wanted(&query).map_err(|(_, reason)| reason)
        };
        assert_eq!(ask(&[("session", "*")]), Ok(Wanted::All));
        assert_eq!(
            ask(&[("session", "a"), ("since", "7")]),
            Ok(Wanted::One { id: "a".into(), since: Some(7), stays: false })
        );
        let one = |stays| Ok(Wanted::One { id: "a".into(), since: None, stays });
        assert_eq!(ask(&[("session", "a"), ("stay", "true")]), one(true));
        assert!(ask(&[("session", "a"), ("stay", "1")]).unwrap_err().contains("true or false"));
        assert!(ask(&[]).unwrap_err().contains("session=ID"));
        assert!(ask(&[("session", "*"), ("since", "7")]).unwrap_err().contains("one session"));
        assert!(ask(&[("session", "a"), ("since", "-1")]).unwrap_err().contains("\"-1\""));
        assert!(
            ask(&[("session", "a"), ("session", "b")])
                .unwrap_err()
                .contains("session is given more than once")
        );
        assert!(ask(&[("sesion", "a")]).unwrap_err().contains("`sesion`"));
    }
}
