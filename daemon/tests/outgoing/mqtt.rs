//! MQTT against Debian's mosquitto: retained states, discovery, the last will, reconnects, passwords and TLS.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::common::until;
use crate::server::Server;

/// A running broker with the user `ann` and the password `secret`; ended when dropped.
struct Broker {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// Where a program is that Debian puts into `/usr/sbin` or `/usr/bin`.
fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|p| p.is_file())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Broker {
    /// Starts a broker, encrypted if asked; `None` on a machine without one.
    fn start(folder: &Path, has_tls: bool) -> Option<Self> {
        let (Some(_), Some(passwd), Some(_)) =
            (program("mosquitto"), program("mosquitto_passwd"), program("mosquitto_sub"))
        else {
            println!(
                "not run: MQTT, because there is no mosquitto (apt-get install mosquitto mosquitto-clients)"
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let passwords = folder.join("passwords");
        run(Command::new(passwd).args(["-b", "-c"]).arg(&passwords).args(["ann", "secret"]));
        // Started by root, mosquitto reads it as a user of its own.
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder, open_to_all).unwrap();
        std::fs::set_permissions(&passwords, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\npersistence false\n",
            passwords.display()
        );
        if has_tls {
            let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
            let mut openssl = Command::new("openssl");
            openssl.args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ]);
            openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
            run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
            std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
            config += &format!("certfile {}\nkeyfile {}\n", certificate.display(), key.display());
        }
        std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { folder: folder.to_owned(), port, child: None };
        broker.begin();
        Some(broker)
    }

    fn begin(&mut self) {
        let mut command = Command::new(program("mosquitto").unwrap());
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        until("the broker", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A client of the broker's own package.
    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name).unwrap());
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "-u", "ann", "-P", "secret"]);
        if self.folder.join("certificate.pem").exists() {
            command.arg("--cafile").arg(self.folder.join("certificate.pem"));
        }
        command
    }

    /// Everything that the broker has and gets.
    fn follow(&self) -> Followed {
        let mut command = self.client("mosquitto_sub");
        command.args(["-t", "#", "-F", "%r\t%t\t%p"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let (lines, to) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&messages));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut parts = line.splitn(3, '\t').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                to.lock().push((next() == "1", next(), next()));
            }
        });
        Followed { child, messages }
    }

    /// What a client gets that comes now: the retained messages.
    fn retained(&self) -> BTreeMap<String, String> {
        let output =
            self.client("mosquitto_sub").args(["-t", "#", "-F", "%r\t%t\t%p", "-W", "1"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let retained = text.lines().filter_map(|line| line.strip_prefix("1\t")?.split_once('\t'));
        retained.map(|(topic, payload)| (topic.to_owned(), payload.to_owned())).collect()
    }

    fn config(&self, more: &str) -> String {
        std::fs::write(self.folder.join("password"), "secret\n").unwrap();
        let scheme = if self.folder.join("certificate.pem").exists() { "mqtts" } else { "mqtt" };
        let port = self.port;
        format!(
            "[mqtt]\nurl = \"{scheme}://localhost:{port}\"\nuser = \"ann\"\npassword_file = \"password\"\n{more}"
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

/// A subscriber and what it got.
struct Followed {
    child: Child,
    messages: Arc<Mutex<Vec<(bool, String, String)>>>,
}

impl Followed {
    /// Waits for a message of a topic that `fits`, and returns it as JSON, or as a text where it is none.
    fn until(&self, topic: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let of = |payload: &String| {
            serde_json::from_str(payload).unwrap_or_else(|_| Value::from(payload.as_str()))
        };
        until(topic, || {
            let messages = self.messages.lock();
            messages
                .iter()
                .rev()
                .filter(|(_, t, _)| t == topic)
                .map(|(_, _, payload)| of(payload))
                .find(&fits)
        })
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn a_broker_knows_who_speaks_in_each_room_and_when_nobody_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(broker) = Broker::start(folder.path(), false) else { return };
    // Of a process that died: a room in which somebody speaks for ever.
    let stale = r#"{"session":"attic","live":true,"who":"Eve","speakers":[{"id":"S1","first_s":0.0}]}"#;
    let made = "diarized/s0123456789abcdef/speaking";
    run(broker.client("mosquitto_pub").args(["-r", "-t", "diarized/attic/speaking", "-m", stale]));
    run(broker.client("mosquitto_pub").args(["-r", "-t", made, "-m", stale]));
    let followed = broker.follow();
    let server = Server::start(folder.path(), &broker.config(""));
    followed.until("diarized/status", |status| status == "online");
    followed
        .until("diarized/attic/speaking", |message| message["live"] == false && message["who"] == "nobody");

    let talk = server.talk("kitchen", 6);
    let speaking = followed.until("diarized/kitchen/speaking", |message| message["who"] == "S1");
    assert_eq!((&speaking["session"], &speaking["live"]), (&"kitchen".into(), &true.into()));
    assert_eq!(speaking["speakers"][0]["id"], "S1");
    followed
        .until("diarized/kitchen/speaking", |message| message["who"] == "nobody" && message["live"] == true);
    assert_eq!(server.post("/v1/sessions/kitchen/rename", r#"{"speaker": "S1", "name": "Ada"}"#), 204);
    followed.until("diarized/kitchen/speakers", |speakers| speakers[0]["name"] == "Ada");
    let about = followed.until("diarized/kitchen/session", |about| about["live"] == true);
    assert!(about["began_unix_s"].as_f64().unwrap() > 1.7e9, "{about}");
    let sensor = followed.until("homeassistant/sensor/diarized_kitchen/config", |_| true);
    assert_eq!(sensor["state_topic"], "diarized/kitchen/speaking");
    assert_eq!(sensor["availability_topic"], "diarized/status");
    drop(talk.close());
    let ended = followed.until("diarized/kitchen/session", |about| about["live"] == false);
    assert_eq!((&ended["reason"], ended["duration_s"].as_f64()), (&"closed".into(), Some(6.0)));
    // A second session of the room, and one without a name.
    drop(server.talk("kitchen", 1).close());
    followed
        .until("diarized/kitchen/session", |about| about["session"] == "kitchen-2" && about["live"] == false);
    let retained = broker.retained();
    assert_eq!(json(&retained["diarized/kitchen/speaking"])["who"], "nobody");
    assert!(
        !retained.contains_key(made) && !retained.keys().any(|topic| topic.contains("kitchen-2")),
        "{retained:?}"
    );
    assert!(server.metric("mqtt_sent_total") >= retained.len() as f64 - 1.0, "{retained:?}");
    assert_eq!(server.metric("mqtt_failures_total"), 0.0);
    server.terminate();
    assert_eq!(broker.retained()["diarized/status"], "offline");
}

#[test]
fn the_last_will_says_that_a_killed_daemon_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let Some(broker) = Broker::start(folder.path(), false) else { return };
    let config = broker.config("topic = \"home/ears\"\nclient_id = \"ears\"\ndiscovery = \"none\"\n");
    let followed = broker.follow();
    let server = Server::start(folder.path(), &config);
    followed.until("home/ears/status", |status| status == "online");
    let _talk = server.talk("hall", 2);
    followed.until("home/ears/hall/session", |about| about["live"] == true);
    server.kill();
    followed.until("home/ears/status", |status| status == "offline");
    assert!(!broker.retained().keys().any(|topic| topic.starts_with("homeassistant")));
}

#[test]
fn a_broker_that_was_away_gets_everything_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = Broker::start(folder.path(), true) else { return };
    let server = Server::start(folder.path(), &broker.config("ca_file = \"certificate.pem\"\n"));
    until("the daemon", || broker.retained().get("diarized/status").filter(|s| *s == "online").cloned());
    broker.end();
    // Meanwhile a session begins and ends, and another one goes on.
    drop(server.talk("away", 3).close());
    let talk = server.talk("kitchen", 3);
    until("the kitchen", || server.snapshot("kitchen"));
    broker.begin();
    let retained = until("everything", || {
        let retained = broker.retained();
        (retained.contains_key("diarized/kitchen/session") && retained.contains_key("diarized/away/session"))
            .then_some(retained)
    });
    assert_eq!(json(&retained["diarized/away/session"])["reason"], "closed");
    assert_eq!(json(&retained["diarized/kitchen/session"])["live"], true);
    assert_eq!(retained["diarized/status"], "online");
    assert!(server.metric("mqtt_failures_total") >= 1.0);
    drop(talk.close());
    server.terminate();
}

#[test]
fn a_broker_that_refuses_or_is_not_there_hinders_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(folder.path(), &format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n"));
    let events = server.talk("a", 3).close();
    assert!(events.len() > 2);
    server.terminate();

    let mut command = crate::common::diarized(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(["--set", "mqtt.url=mqtt://localhost", "--set", "mqtt.user=ann"]);
    command.args(["--set", "mqtt.password_file=/nonexistent/password"]);
    let (code, _, stderr) = crate::common::run(&mut command);
    assert_eq!(code, 78);
    assert!(stderr.contains("mqtt.password_file in /nonexistent/password"), "{stderr}");
    let mut command = crate::common::diarized(&["serve", "--set", "mqtt.url=http://localhost"]);
    let (code, _, stderr) = crate::common::run(&mut command);
    assert!(code == 78 && stderr.contains("mqtt.url") && stderr.contains("mqtts://HOST"), "{stderr}");
}
