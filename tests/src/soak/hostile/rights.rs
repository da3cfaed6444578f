//! What each scope must not do to a session of somebody else: every attempt that succeeds is a breach.

use super::wire::Wire;

/// A scope of a token, and what it gives.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    /// `none`, `wrong`, or the name of the scope.
    pub(super) scope: &'static str,
    pub(super) token: Option<String>,
}

/// What is tried with a session `ID`: method, path, body, and the scopes that allow it.
const ATTEMPTS: [(&str, &str, &str, &[&str]); 19] = [
    ("GET", "/v1/sessions", "", &["subscribe"]),
    ("GET", "/v1/sessions/ID", "", &["subscribe"]),
    ("GET", "/v1/sessions/ID.rttm", "", &["subscribe"]),
    ("GET", "/v1/sessions/ID.csv", "", &["subscribe"]),
    ("GET", "/v1/sessions/ID/corrections", "", &["subscribe"]),
    ("DELETE", "/v1/sessions/ID", "", &[]),
    ("POST", "/v1/sessions/ID/rename", r#"{"speaker":"S1","name":"Mallory"}"#, &["publish"]),
    ("POST", "/v1/sessions/ID/merge", r#"{"from":"S2","into":"S1"}"#, &["publish"]),
    ("POST", "/v1/sessions/ID/split", r#"{"speaker":"S1"}"#, &["publish"]),
    ("POST", "/v1/sessions/ID/title", r#"{"title":"Mallory was here"}"#, &["publish"]),
    ("POST", "/v1/sessions/ID/note", r#"{"text":"Mallory was here"}"#, &["publish"]),
    ("POST", "/v1/sessions/ID/undo", "{}", &["publish"]),
    ("POST", "/v1/sessions/ID/words", r#"{"words":[{"start":0,"end":1,"text":"Mallory"}]}"#, &["publish"]),
    ("GET", "/v1/speakers", "", &["voices"]),
    ("POST", "/v1/speakers", r#"{"name":"Mallory","session":"ID","speaker":"S1"}"#, &[]),
    ("DELETE", "/v1/speakers/Mallory", "", &["voices"]),
    ("GET", "/metrics", "", &["metrics"]),
    ("GET", "/v1/events?session=ID", "", &["subscribe"]),
    ("PUT", "/v1/sessions/ID", "{}", &[]),
];

/// Tries everything that the scope does not allow on a session of somebody else; gives what succeeded.
pub(super) async fn breaches(wire: &Wire, holder: &Holder, id: &str) -> Vec<String> {
    let mut all = Vec::new();
    // An admin may do everything.
    if holder.scope == "admin" {
        return all;
    }
    for (method, path, body, allowed) in ATTEMPTS {
        if allowed.contains(&holder.scope) {
            continue;
        }
        let (path, body) = (path.replace("ID", id), body.replace("ID", id));
        let answer = wire.request(holder.token.as_deref(), method, &path, body.as_bytes()).await;
        if let Ok((status @ 200..400, _)) = answer {
            all.push(format!(
                "{} with the scope {:?}: {method} {path} was answered {status}",
                wire.from, holder.scope
            ));
        }
    }
    all
}
