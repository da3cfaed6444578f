//! The clients: follow sessions of a server, stream a file to one, and show labels in a terminal.

mod address;
mod backoff;
mod dial;
mod follow;
mod named;
mod outgoing;
mod publish;
mod socket;
mod terminal;
mod tls;
mod view;
mod wire_audio;

pub(crate) use backoff::Backoff;
pub(crate) use dial::{DialError, dial};
pub(crate) use tls::Authorities;

pub use address::{Address, AddressError};
pub use follow::{Follow, News};
pub use outgoing::Playback;
pub use publish::{Naming, PublishError, Summary, publish};
pub use socket::ConnectError;
pub use terminal::Terminal;
pub use tls::TlsError;
pub use view::View;

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod tests;
