//! One connection to a broker: MQTT 3.1.1 with retained messages of quality 0, through rumqttc's packets.
//!
//! Every message is a state that is sent again after a reconnect, so none needs a receipt. The connection is made by the
//! daemon's own TLS, which knows the authorities and the ciphers that all its connections use.

use std::time::Duration;

use bytes::BytesMut;
use diarized_config::Endpoint;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, LastWill, Packet, Publish, Subscribe};
use rumqttc::mqttbytes::{Error as PacketError, QoS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::names::Names;
use crate::byte_stream::ByteStream;
use crate::client::{Authorities, DialError, dial};

/// Interval that the broker is promised a packet in.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Silence after which a ping is sent, and after which the broker is gone.
const PING_AFTER: Duration = Duration::from_secs(15);
const GONE_AFTER: Duration = Duration::from_secs(45);
/// How long a step of the connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest packet that is read: our own messages, as the broker kept them.
const MAX_PACKET_BYTES: usize = 256 << 10;
/// Largest message that is sent.
const MAX_PAYLOAD_BYTES: usize = 200 << 10;

/// User and password.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: String,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the broker refuses us: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the broker does not answer")]
    Silent,
    #[error("the broker closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("the broker sent what is not MQTT: {0}")]
    Packet(#[from] PacketError),
}

pub(super) struct Link {
    stream: Box<dyn ByteStream>,
    read: BytesMut,
    heard_at: Instant,
    pinged_at: Instant,
}

impl Link {
    /// Connects and logs in; the last will reports that we are offline.
    pub(super) async fn open(
        url: &Endpoint,
        authorities: Option<&Authorities>,
        names: &Names,
        login: Option<&Login>,
    ) -> Result<Self, LinkError> {
        let open = async {
            let stream = dial(&url.host, url.port, authorities).await?;
            let now = Instant::now();
            let mut link = Self { stream, read: BytesMut::new(), heard_at: now, pinged_at: now };
            let mut connect = Connect::new(&names.client_id);
            connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
            connect.last_will = Some(LastWill::new(names.status(), "offline", QoS::AtLeastOnce, true));
            if let Some(login) = login {
                connect.set_login(&login.user, &login.password);
            }
            link.write(Packet::Connect(connect)).await?;
            loop {
                match link.packet().await? {
                    Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. }) => return Ok(link),
                    Packet::ConnAck(ConnAck { code, .. }) => return Err(LinkError::Refused(code)),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, open).await.map_err(|_| LinkError::Silent)?
    }

    /// Sends a retained message; an empty one withdraws what is retained.
    pub(super) async fn publish(&mut self, message: &Message) -> Result<(), LinkError> {
        // Bounded by the rooms' own bounds already; a broker would close the connection for a larger one.
        if message.payload.len() > MAX_PAYLOAD_BYTES {
            return Ok(());
        }
        let mut publish = Publish::new(&message.topic, QoS::AtMostOnce, message.payload.as_bytes());
        publish.retain = true;
        self.write(Packet::Publish(publish)).await
    }

    /// Asks for what the broker has below a filter.
    pub(super) async fn subscribe(&mut self, filter: &str) -> Result<(), LinkError> {
        let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
        subscribe.pkid = 1;
        self.write(Packet::Subscribe(subscribe)).await
    }

    /// Takes the next packet; a message that the broker had kept is returned. Loses nothing when it is dropped.
    pub(super) async fn hear(&mut self) -> Result<Option<Message>, LinkError> {
        Ok(match self.packet().await? {
            Packet::Publish(publish) if publish.retain => {
                let payload = String::from_utf8_lossy(&publish.payload).into_owned();
                Some(Message { topic: publish.topic, payload })
            }
            _ => None,
        })
    }

    /// Keeps the connection alive.
    ///
    /// # Errors
    /// The broker has fallen silent.
    pub(super) async fn ping_if_due(&mut self) -> Result<(), LinkError> {
        let silence = self.heard_at.elapsed();
        if silence >= GONE_AFTER {
            return Err(LinkError::Silent);
        }
        // A broker hears of us by this alone while nothing changes.
        if self.pinged_at.elapsed() >= PING_AFTER {
            self.pinged_at = Instant::now();
            self.write(Packet::PingReq).await?;
        }
        Ok(())
    }

    /// Leaves in good order; the broker then drops the last will.
    pub(super) async fn close(&mut self) -> Result<(), LinkError> {
        self.write(Packet::Disconnect).await?;
        Ok(self.stream.shutdown().await?)
    }

    async fn packet(&mut self) -> Result<Packet, LinkError> {
        loop {
            match Packet::read(&mut self.read, MAX_PACKET_BYTES) {
                Ok(packet) => {
                    self.heard_at = Instant::now();
                    return Ok(packet);
                }
                Err(PacketError::InsufficientBytes(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    async fn write(&mut self, packet: Packet) -> Result<(), LinkError> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX)?;
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        Ok(timeout(PATIENCE, write).await.map_err(|_| LinkError::Silent)??)
    }
}

/// Reads packets as the connection does, for the fuzz entry: every packet of `bytes`, up to the first fault.
#[doc(hidden)]
pub fn read_packets(bytes: &[u8]) -> usize {
    let mut read = BytesMut::from(bytes);
    let mut n_packets = 0;
    while Packet::read(&mut read, MAX_PACKET_BYTES).is_ok() {
        n_packets += 1;
    }
    n_packets
}
