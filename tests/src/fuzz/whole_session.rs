//! A whole session, driven over a real socket by whatever the bytes say: messages good and bad, audio, pings, cuts with
//! and without coming back, bytes that are no WebSocket.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diarized::access::Access;
use diarized::engine::LiveEngines;
use diarized::hub::{Hub, HubParams};
use diarized::protocol::server_message::Body;
use diarized::protocol::{ErrorCode, ServerMessage};
use diarized::server::{Limits, Server};
use diarized::session::EngineFactory;
use diarized_config::Config;
use diarized_models::SessionState;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Most steps of one session: what comes after them is not looked at.
const MAX_STEPS: usize = 64;
/// Longest wait for the server: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ways to open the session.
const OPENINGS: [&str; 6] = [
    "",
    "?sample_rate=16000",
    "?encoding=pcm_f32le&sample_rate=8000&channels=2&channel=1",
    "?encoding=mulaw&sample_rate=8000",
    "?sample_rate=48000&channels=2&expected_speakers=2",
    "?sample_rate=5",
];

/// Messages with a place for a number, which may be any.
const MESSAGES: [&str; 18] = [
    r#"{"type":"start"}"#,
    r#"{"type":"start","audio":{"sample_rate":N},"speakers":{"max":N}}"#,
    r#"{"type":"keep_alive"}"#,
    r#"{"type":"finalize"}"#,
    r#"{"type":"gap","duration_s":N}"#,
    r#"{"type":"rename","speaker":"SN","name":"Ada"}"#,
    r#"{"type":"rename","speaker":"SN","name":""}"#,
    r#"{"type":"merge","from":"SN","into":"S1"}"#,
    r#"{"type":"reassign","segment":N,"speaker":"S1"}"#,
    r#"{"type":"split","speaker":"SN"}"#,
    r#"{"type":"split","speaker":"S1","segments":[N]}"#,
    r#"{"type":"close"}"#,
    r#"{"type":"words","words":[{"start":0,"end":N,"text":"hello"},{"start":N,"end":N,"text":"N","confidence":N}]}"#,
    r#"{"type":"words","words":[{"start":0.2,"end":0.4,"text":"N"}],"final":false}"#,
    r#"{"type":"title","title":"N"}"#,
    r#"{"type":"note","segment":N,"text":"N"}"#,
    r#"{"type":"undo"}"#,
    r#"{"type":"redo","correction":N}"#,
];

/// One thing that the client does.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// One of the messages with a number in it.
    Message(usize, i16),
    /// A text frame of any bytes.
    Text(Vec<u8>),
    /// Audio: this many bytes of noise of one loudness.
    Audio(usize, u8),
    /// A ping.
    Ping,
    /// The connection breaks, and the client comes back with its token and all but this many of its events.
    Resume(u8),
    /// The connection closes with this code.
    Close(u16),
    /// Bytes where a frame belongs.
    Raw(Vec<u8>),
}

/// Reads an opening and steps; any bytes are some.
fn parse(bytes: &[u8]) -> (usize, Vec<Step>) {
    let mut rest = bytes.iter().copied();
    let mut next = || rest.next().unwrap_or(0);
    let opening = usize::from(next()) % OPENINGS.len();
    let mut n_left = bytes.len().saturating_sub(1);
    let mut steps = Vec::new();
    while n_left > 0 && steps.len() < MAX_STEPS {
        let (step, n_read) = match next() % 8 {
            0 | 1 => {
                (Step::Message(usize::from(next()) % MESSAGES.len(), i16::from_le_bytes([next(), next()])), 4)
            }
            2 => {
                let n = usize::from(next());
                (Step::Text((0..n).map(|_| next()).collect()), 2 + n)
            }
            3 => (Step::Audio(usize::from(u16::from_le_bytes([next(), next()])) % 8192, next()), 4),
            4 => (Step::Ping, 1),
            5 => (Step::Resume(next()), 2),
            6 => (Step::Close(u16::from_le_bytes([next(), next()])), 3),
            _ => {
                let n = usize::from(next()) % 32;
                (Step::Raw((0..n).map(|_| next()).collect()), 2 + n)
            }
        };
        n_left = n_left.saturating_sub(n_read);
        steps.push(step);
    }
    (opening, steps)
}

/// Bytes that are read as these steps.
fn to_bytes(opening: u8, steps: &[Step]) -> Vec<u8> {
    let mut out = vec![opening];
    for step in steps {
        match step {
            Step::Message(idx, n) => {
                out.extend([0, *idx as u8]);
                out.extend(n.to_le_bytes());
            }
            Step::Text(text) => {
                out.extend([2, text.len() as u8]);
                out.extend(text);
            }
            Step::Audio(n, level) => {
                out.push(3);
                out.extend((*n as u16).to_le_bytes());
                out.push(*level);
            }
            Step::Ping => out.push(4),
            Step::Resume(n) => out.extend([5, *n]),
            Step::Close(code) => {
                out.push(6);
                out.extend(code.to_le_bytes());
            }
            Step::Raw(raw) => {
                out.extend([7, raw.len() as u8]);
                out.extend(raw);
            }
        }
    }
    out
}

/// Sessions to damage: good ones, broken ones, resumed ones.
#[must_use]
pub fn examples() -> Vec<Vec<u8>> {
    use Step::{Audio, Close, Message, Ping, Raw, Resume, Text};
    let talk = [Audio(6400, 40), Audio(6400, 0), Audio(3200, 90)];
    let corrections = [13, 12, 3, 4, 5, 6, 14, 15, 16, 17, 7, 8, 9, 10, 16, 13].map(|idx| Message(idx, 1));
    let all = [
        (1, [&talk[..], &[Message(11, 0)][..]].concat()),
        (0, [&[Message(0, 0)][..], &talk[..], &corrections[..], &[Ping, Message(11, 0)][..]].concat()),
        (1, [&talk[..2], &[Resume(0), Audio(8000, 70), Resume(3), Message(3, 0)][..], &talk[..]].concat()),
        (2, [&talk[..], &[Close(1000)][..]].concat()),
        (3, [&talk[..], &[Close(1011), Resume(1), Message(11, 0)][..]].concat()),
        (4, [&talk[..], &[Raw(vec![0x82, 0xfe, 0xff, 0xff, 1]), Resume(0), Message(4, 2)][..]].concat()),
        (1, vec![Text(b"hello".to_vec()), Message(0, 0), Audio(3, 9)]),
        (5, vec![Message(2, 0)]),
    ];
    let all = all.map(|(opening, steps)| {
        let bytes = to_bytes(opening, &steps);
        assert_eq!(parse(&bytes), (usize::from(opening), steps));
        bytes
    });
    all.to_vec()
}

/// The server, and what it runs on. There is one in the process.
struct Running {
    addr: SocketAddr,
    hub: Arc<Hub>,
    _runtime: Runtime,
}

fn server() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("the system gives threads");
        let engines = LiveEngines::start(&Config::default()).expect("the built-in model loads");
        let params = HubParams { max_sessions: 10_000, ..HubParams::default() };
        let hub = Hub::new(params, Arc::new(engines) as Arc<dyn EngineFactory>);
        // Sessions whose client does not come back are not to pile up.
        let limits =
            Limits { resume_grace: Duration::from_secs(1), max_connections: 10_000, ..Limits::default() };
        let server = Server::new(Arc::clone(&hub), limits, Arc::new(Access::open()), None);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("there is a loopback port");
        let addr = listener.local_addr().expect("it is bound");
        runtime.spawn(server.run(vec![listener]));
        Running { addr, hub, _runtime: runtime }
    })
}

/// The client's side.
struct Client {
    socket: WebSocket<TcpStream>,
    /// Id and token of the session.
    session: Option<(String, String)>,
    /// What its events make, and the number of the last one.
    state: SessionState,
    seq: u64,
    is_ended: bool,
    /// The last fatal error.
    fatal: Option<ErrorCode>,
    /// The code that the client closed with, which is what its close is answered with.
    own_code: Option<u16>,
}

fn connect(path: &str) -> WebSocket<TcpStream> {
    let addr = server().addr;
    let tcp = TcpStream::connect(addr).expect("the server listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    tcp.set_write_timeout(Some(PATIENCE)).expect("it is a socket");
    let (socket, _) =
        tungstenite::client(format!("ws://{addr}{path}"), tcp).expect("the server takes a WebSocket");
    socket
}

impl Client {
    /// Takes one message; `Err` with the close code when there are no more, none if the connection broke.
    fn hear(&mut self) -> Result<(), Option<u16>> {
        let text = match self.socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
            Ok(_) => return Ok(()),
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server says nothing for {PATIENCE:?}")
            }
            Err(_) => return Err(None),
        };
        let message = ServerMessage::parse(&text).expect("the server speaks its own protocol");
        match &message.body {
            Body::Started(started) if !started.resumed => {
                self.session = Some((message.session.clone().expect("it has an id"), started.token.clone()));
            }
            Body::Snapshot(snapshot) => {
                self.state = snapshot.to_state().expect("a snapshot is a state");
                self.seq = message.seq.expect("it is counted");
                return Ok(());
            }
            Body::Error(error) => {
                assert_ne!(error.code, ErrorCode::Internal, "{}", error.reason);
                self.fatal = error.fatal.then_some(error.code).or(self.fatal);
            }
            Body::Ended(_) => self.is_ended = true,
            _ => {}
        }
        if let Some(seq) = message.seq {
            assert_eq!(seq, self.seq + 1, "no loss, no doubling");
            self.seq = seq;
            if let Ok(event) = message.body.to_event() {
                self.state.apply(&event).expect("events fit the state");
            }
        }
        Ok(())
    }

    /// Receives everything until the connection is over, and checks how it ended.
    fn hear_out(&mut self) {
        let code = loop {
            if let Err(code) = self.hear() {
                break code;
            }
        };
        // A close of the server's own has a reason before it.
        if let Some(code @ 4000..) = code.filter(|_| code != self.own_code) {
            assert_eq!(self.fatal.map(|fatal| fatal.close_code().as_u16()), Some(code));
        }
    }

    /// Takes the session up again, having forgotten some of its events.
    fn resume(&mut self, n_forgotten: u8) {
        let Some((id, token)) = self.session.clone() else { return };
        self.socket = connect("/v1/stream");
        // A late joiner's snapshot in place of what was forgotten.
        let since = match n_forgotten {
            0 => format!(r#","since":{}"#, self.seq),
            _ => String::new(),
        };
        let start = format!(r#"{{"type":"start","resume":{{"session":"{id}","token":"{token}"{since}}}}}"#);
        let _ = self.socket.send(Message::text(start));
        (self.fatal, self.own_code) = (None, None);
    }

    fn do_step(&mut self, step: &Step) {
        // What cannot be sent any more is lost, which is as good as not sent.
        let _ = match step {
            Step::Message(idx, n) => {
                self.socket.send(Message::text(MESSAGES[*idx].replace('N', &n.to_string())))
            }
            Step::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.socket.send(Message::text(text)),
                Err(_) => Ok(()),
            },
            Step::Audio(n, level) => {
                let noise =
                    (0..*n).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] % level.max(&1));
                self.socket.send(Message::Binary(noise.collect::<Vec<_>>().into()))
            }
            Step::Ping => self.socket.send(Message::Ping(vec![1].into())),
            Step::Resume(n_forgotten) => {
                self.resume(*n_forgotten);
                Ok(())
            }
            Step::Close(code) => {
                self.own_code = Some(*code);
                let code = WireCode::from(*code);
                let frame = code.is_allowed().then_some(CloseFrame { code, reason: "".into() });
                self.socket.close(frame)
            }
            Step::Raw(bytes) => self.socket.get_mut().write_all(bytes).map_err(tungstenite::Error::Io),
        };
    }
}

/// A session of these steps, to its end.
pub(super) fn drive(bytes: &[u8]) {
    let (opening, steps) = parse(bytes);
    let mut client = Client {
        socket: connect(&format!("/v1/stream{}", OPENINGS[opening])),
        session: None,
        state: SessionState::new(),
        seq: 0,
        is_ended: false,
        fatal: None,
        own_code: None,
    };
    if opening > 0 {
        // `started`, or why not.
        let _ = client.hear();
    }
    for step in &steps {
        client.do_step(step);
    }
    let close = r#"{"type":"close"}"#;
    let _ = client.socket.send(Message::text(close));
    let _ = client.socket.get_ref().shutdown(std::net::Shutdown::Write);
    client.hear_out();
    // An interrupted session is resumed and ended in good order, so that all of its audio is processed.
    let Some((id, _)) = client.session.clone() else { return };
    if !client.is_ended {
        client.resume(0);
        let _ = client.socket.send(Message::text(close));
        client.hear_out();
    }
    // A client that applied every event holds what the server holds.
    if let Some(session) = server().hub.get(&id).filter(|_| client.is_ended) {
        let message = session.channel().snapshot();
        let Body::Snapshot(snapshot) = &message.body else { panic!("it is one") };
        // As the wire has it, which rounds times to milliseconds.
        let state = snapshot.to_state().expect("a snapshot is a state");
        assert_eq!((&state, message.seq), (&client.state, Some(client.seq)));
    }
}
