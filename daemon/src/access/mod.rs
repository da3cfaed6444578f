//! Access control: tokens with scopes, and allowed origins of web pages. Uses no sockets.

mod limits;
mod origin;
mod scope;
mod tokens;

pub use diarized_config::AllowedOrigin;
pub(crate) use limits::read_limit;
pub use limits::{TenantId, TokenLimits};
pub use origin::Origins;
pub use scope::{Scope, Scopes};
pub(crate) use tokens::date_of;
pub use tokens::{Entry, TokenFileError, Tokens, is_token_name};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

/// Identity of a request, from its token.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The token's entry; none where no tokens are asked for.
    token: Option<Arc<Entry>>,
}

impl Identity {
    /// Any client of a server without tokens.
    #[must_use]
    pub fn anyone() -> Self {
        Self { token: None }
    }

    /// Whether it may.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.token.as_ref().is_none_or(|entry| entry.scopes.allow(scope))
    }

    /// The same, with the reason.
    ///
    /// # Errors
    /// [`Denied::Scope`]
    pub fn must(&self, scope: Scope) -> Result<(), Denied> {
        match self.may(scope) {
            true => Ok(()),
            false => Err(Denied::Scope { name: self.name().to_owned(), needed: scope }),
        }
    }

    /// Whether it has a token, and with it a name.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.token.is_some()
    }

    /// Name of the token, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.token.as_ref().map_or("anyone", |entry| &entry.name)
    }
}

/// Why a request is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No token came.
    #[error(
        "a token is needed: send `Authorization: Bearer TOKEN`, or from a browser the WebSocket subprotocols \
             `diarized.v1` and `bearer.TOKEN`; `diarized token add` makes one"
    )]
    NoToken,
    /// The token is none of ours.
    #[error("the token is not known here, or was revoked")]
    UnknownToken,
    /// The token is good for other things.
    #[error("the token {name:?} lacks the scope {:?}", needed.as_str())]
    Scope {
        /// Name of the token.
        name: String,
        /// What is missing.
        needed: Scope,
    },
    /// A web page with a foreign origin.
    #[error("a page of {origin:?} may not use this server; {}", origin_advice(origin))]
    Origin {
        /// The origin in the request.
        origin: String,
    },
    /// The server is called by a name that it does not know, as in DNS rebinding.
    #[error(
        "{host:?} is not a name of this server; use its address, or add http://{host} to server.allowed_origins"
    )]
    Host {
        /// The host name in the request.
        host: String,
    },
}

/// What lets a page in that was turned away: a key of the configuration is named only where it takes the value.
fn origin_advice(origin: &str) -> String {
    match AllowedOrigin::parse(origin) {
        Some(AllowedOrigin::Hidden) => {
            "a browser sends this for pages that are opened as files or stand in a sandbox: serve the page over http, or \
             add \"null\" to server.allowed_origins, which lets in every page that hides where it is from"
                .to_owned()
        }
        Some(AllowedOrigin::One(one)) => format!("add {one:?} to server.allowed_origins if it shall"),
        _ => "no origin is written like that, so none can be allowed".to_owned(),
    }
}

/// Access control: reloadable tokens and allowed origins.
#[derive(Debug)]
pub struct Access {
    tokens: RwLock<Option<Arc<Tokens>>>,
    file: Option<PathBuf>,
    origins: Origins,
    /// Counts the times that tokens were loaded again.
    reloaded: watch::Sender<u64>,
}

impl Access {
    /// No tokens are asked for, and only the server's own pages are welcome.
    #[must_use]
    pub fn open() -> Self {
        Self::without_tokens(Origins::default())
    }

    /// No tokens are asked for.
    #[must_use]
    pub fn without_tokens(origins: Origins) -> Self {
        Self { tokens: RwLock::new(None), file: None, origins, reloaded: watch::Sender::new(0) }
    }

    /// Every request needs a token of this file.
    ///
    /// # Errors
    /// [`TokenFileError`]
    pub fn with_tokens(file: PathBuf, origins: Origins) -> Result<Self, TokenFileError> {
        let tokens = Tokens::load(&file)?;
        Ok(Self {
            tokens: RwLock::new(Some(Arc::new(tokens))),
            file: Some(file),
            origins,
            reloaded: watch::Sender::new(0),
        })
    }

    /// Whether tokens are asked for.
    #[must_use]
    pub fn asks_for_tokens(&self) -> bool {
        self.tokens.read().is_some()
    }

    /// How many tokens are known.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.tokens.read().as_ref().map_or(0, |tokens| tokens.entries().len())
    }

    /// Every token by who it counts for: its name and limits. None where no tokens are asked for.
    pub(crate) fn tenants(&self) -> BTreeMap<TenantId, (String, TokenLimits)> {
        let tokens = self.tokens.read();
        let entries = tokens.iter().flat_map(|tokens| tokens.entries());
        entries.map(|entry| (entry.tenant.clone(), (entry.name.clone(), entry.limits))).collect()
    }

    /// Loads the tokens again; those that are gone from the file are no longer good, on open connections too.
    ///
    /// # Errors
    /// [`TokenFileError`]; the tokens stay as they were.
    pub fn reload(&self) -> Result<(), TokenFileError> {
        let Some(file) = &self.file else { return Ok(()) };
        let tokens = Tokens::load(file)?;
        *self.tokens.write() = Some(Arc::new(tokens));
        self.reloaded.send_modify(|n| *n += 1);
        Ok(())
    }

    /// A receiver that changes when tokens were loaded again.
    #[must_use]
    pub fn reloaded(&self) -> watch::Receiver<u64> {
        self.reloaded.subscribe()
    }

    /// Whether an identity that was good is so still.
    #[must_use]
    pub fn is_still_good(&self, identity: &Identity) -> bool {
        let tokens = self.tokens.read();
        match (&identity.token, tokens.as_ref()) {
            (Some(entry), Some(tokens)) => tokens.entries().iter().any(|known| known.is_same(entry)),
            _ => true,
        }
    }

    /// Whether a browser's page, or a name that the client calls the server by, is welcome. Both are the values of
    /// HTTP headers.
    ///
    /// # Errors
    /// [`Denied::Origin`], [`Denied::Host`]
    pub fn admit(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), Denied> {
        if let Some(origin) = origin
            && !self.origins.welcome(origin, host)
        {
            return Err(Denied::Origin { origin: shorten(origin) });
        }
        // A token cannot be had by a page that only pretends to be of this server, so names matter without one.
        if let Some(host) = host
            && !self.asks_for_tokens()
            && !self.origins.is_own_host(host)
        {
            return Err(Denied::Host { host: shorten(host) });
        }
        Ok(())
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// [`Denied::NoToken`], [`Denied::UnknownToken`]
    pub fn identify(&self, token: Option<&str>) -> Result<Identity, Denied> {
        let tokens = self.tokens.read();
        let Some(tokens) = tokens.as_ref() else { return Ok(Identity::anyone()) };
        let entry = tokens.find(token.ok_or(Denied::NoToken)?).ok_or(Denied::UnknownToken)?;
        Ok(Identity { token: Some(Arc::clone(entry)) })
    }
}

/// What a client sent, cut to what an error text or a log may repeat.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_may_everything_and_the_others_what_they_say() {
        let of = |scopes: &[Scope]| scopes.iter().copied().collect::<Scopes>();
        let publish = of(&[Scope::Publish, Scope::Metrics]);
        let allowed: Vec<_> = Scope::ALL.iter().copied().filter(|s| publish.allow(*s)).collect();
        assert_eq!(allowed, [Scope::Publish, Scope::Metrics]);
        assert!(Scope::ALL.iter().copied().all(|s| of(&[Scope::Admin]).allow(s)));
        assert!(Scope::ALL.iter().copied().all(|s| !Scopes::default().allow(s)));
        assert_eq!(publish.to_string(), "publish,metrics");
        assert!(Scope::ALL.iter().copied().all(|s| s.as_str().parse() == Ok(s)));
    }

    #[test]
    fn tokens_that_are_revoked_are_no_longer_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let mut tokens = Tokens::default();
        let ada = tokens.add("ada", of_publish()).unwrap();
        let bob = tokens.add("bob", of_publish()).unwrap();
        tokens.save(&path).unwrap();
        let access = Access::with_tokens(path.clone(), Origins::default()).unwrap();
        let (of_ada, of_bob) = (access.identify(Some(&ada)).unwrap(), access.identify(Some(&bob)).unwrap());
        assert_eq!(
            (of_ada.name(), of_ada.may(Scope::Publish), of_ada.may(Scope::Admin)),
            ("ada", true, false)
        );
        assert_eq!(access.identify(None).unwrap_err(), Denied::NoToken);
        assert_eq!(access.identify(Some("dz_guess")).unwrap_err(), Denied::UnknownToken);
        assert!(tokens.revoke("ada"));
        tokens.save(&path).unwrap();
        assert!(access.is_still_good(&of_ada), "not before it is loaded again");
        access.reload().unwrap();
        assert!(!access.is_still_good(&of_ada) && access.is_still_good(&of_bob));
        assert_eq!(access.identify(Some(&ada)).unwrap_err(), Denied::UnknownToken);
        std::fs::write(&path, "nonsense\n").unwrap();
        access.reload().unwrap_err();
        assert!(access.identify(Some(&bob)).is_ok(), "a broken file changes nothing");
    }

    fn of_publish() -> Scopes {
        [Scope::Publish].into_iter().collect()
    }

    #[test]
    fn what_is_advised_for_a_page_lets_it_in() {
        let host = Some("127.0.0.1:7007");
        for origin in
            ["null", "file://", "capacitor://localhost", "chrome-extension://abc", "https://a.example:8443"]
        {
            let denied = Access::open().admit(Some(origin), host).unwrap_err().to_string();
            // The advice names the value in quotes, last of all that is quoted.
            let advised = denied.split('"').rev().nth(1).unwrap();
            let origins = Origins::new(vec![AllowedOrigin::parse(advised).unwrap()]);
            assert_eq!(Access::without_tokens(origins).admit(Some(origin), host), Ok(()), "{denied}");
        }
        let denied = Access::open().admit(Some("https://a.example/x"), host).unwrap_err().to_string();
        assert!(denied.contains("none can be allowed"), "{denied}");
    }

    #[test]
    fn names_matter_only_where_no_tokens_are_asked_for() {
        let access = Access::open();
        assert_eq!(access.admit(None, Some("127.0.0.1:7007")), Ok(()));
        assert!(matches!(access.admit(None, Some("evil.example:7007")), Err(Denied::Host { .. })));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        Tokens::default().save(&path).unwrap();
        let access = Access::with_tokens(path, Origins::default()).unwrap();
        assert_eq!(access.admit(None, Some("box.example:7007")), Ok(()));
        let origin = access.admit(Some("https://evil.example"), Some("127.0.0.1:7007"));
        assert!(matches!(origin, Err(Denied::Origin { .. })));
    }
}
