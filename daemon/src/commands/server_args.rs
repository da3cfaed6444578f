//! Flags of client commands for the server, its token and its certificate.

use std::path::PathBuf;

use crate::client::Address;
use crate::protocol::is_session_id;

/// What a server wants to see and what shall be seen of it. Flatten it into a command's arguments.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Access token. Prefer the environment: other users can see the command line.
    #[arg(long, value_name = "TOKEN", env = diarized_config::TOKEN_VARIABLE, hide_env_values = true)]
    token: Option<String>,

    /// PEM file of certificate authorities for the server's certificate, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Reads the id of a session, so that nothing else gets into the address.
pub(super) fn session_id(text: &str) -> Result<String, String> {
    match is_session_id(text) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 64 letters, digits, - and _".to_owned()),
    }
}

impl std::fmt::Debug for ServerArgs {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerArgs").field("ca", &self.ca).finish_non_exhaustive()
    }
}

impl ServerArgs {
    /// The server at `url`.
    ///
    /// # Errors
    /// `url` is no address, or the authorities cannot be read.
    pub fn address(&self, url: &str) -> anyhow::Result<Address> {
        let token = self.token.as_deref().filter(|token| !token.is_empty());
        Ok(Address::parse(url)?.with_token(token).with_authorities(self.ca.as_deref())?)
    }
}
