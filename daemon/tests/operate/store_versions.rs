//! Stores of other versions: an earlier one is migrated whatever kills the process, a later one is left alone.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rusqlite::Connection;

use super::common::{diarized, run};
use super::server::Server;
use super::stream;

/// Processes that are killed while they start on the earlier store.
const N_KILLS: u32 = 12;

/// Makes a store of the present version one of the first.
const TO_FIRST_VERSION: &str = "
    DROP TABLE corrections;
    DROP TABLE clock;
    DROP TABLE usage;
    ALTER TABLE sessions DROP COLUMN title;
    ALTER TABLE sessions DROP COLUMN last_speaker;
    ALTER TABLE sessions DROP COLUMN last_segment;
    ALTER TABLE sessions DROP COLUMN labelled;
    ALTER TABLE sessions DROP COLUMN options;
    ALTER TABLE sessions DROP COLUMN fetched;
    ALTER TABLE sessions DROP COLUMN tenant;
    PRAGMA user_version = 1;";

fn version(path: &Path) -> i64 {
    let sqlite = Connection::open(path).unwrap();
    sqlite.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// Every event and every session, in the columns that all versions have.
fn content(path: &Path) -> Vec<String> {
    let sqlite = Connection::open(path).unwrap();
    let check: String = sqlite.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut select = sqlite
        .prepare(
            "SELECT id || source || format || seq || at || n_segments || coalesce(base, '') FROM sessions
             UNION ALL SELECT message FROM (SELECT message FROM events ORDER BY session, seq)",
        )
        .unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn labels(server: &Server) -> serde_json::Value {
    let (status, body) = server.http("GET", "/v1/sessions/old");
    assert_eq!(status, 200, "{body}");
    let mut labels: serde_json::Value = serde_json::from_str(&body).unwrap();
    serde_json::json!({"segments": labels["segments"].take(), "speakers": labels["speakers"].take()})
}

#[test]
fn a_store_of_an_earlier_version_loses_nothing_to_kills_during_its_migration() {
    let folder = tempfile::tempdir().unwrap();
    let (path, earlier) = (folder.path().join("sessions.sqlite"), folder.path().join("earlier.sqlite"));
    let set = format!("storage.path={}", path.display());
    let server = Server::start(&["--set", &set]);
    let (code, ..) = run(&mut stream(&server.url, &["--speed", "max", "--session", "old"]));
    assert_eq!(code, 0);
    let expected_labels = labels(&server);
    assert!(expected_labels["segments"].as_array().unwrap().len() > 5);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let present = version(&path);
    Connection::open(&path).unwrap().execute_batch(TO_FIRST_VERSION).unwrap();
    let expected = content(&path);
    assert!(expected.len() > 10);
    std::fs::copy(&path, &earlier).unwrap();

    let began = Instant::now();
    let server = Server::start(&["--set", &set]);
    let start_time = began.elapsed();
    assert_eq!(version(&path), present);
    assert_eq!(labels(&server), expected_labels);
    drop(server);

    let mut n_unfinished = 0;
    for n in 0..N_KILLS {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("sessions.sqlite{end}")));
        }
        std::fs::copy(&earlier, &path).unwrap();
        let mut killed = diarized(&["serve", "--listen", "127.0.0.1:0", "--set", &set])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(start_time * n / N_KILLS);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let found = version(&path);
        assert!(found == 1 || found == present, "version {found} after kill {n}");
        n_unfinished += u32::from(found == 1);
        assert_eq!(content(&path), expected, "after kill {n}");
    }
    assert!(n_unfinished > 0, "no process was killed before it had migrated the store");
    let server = Server::start(&["--set", &set]);
    assert_eq!((version(&path), labels(&server)), (present, expected_labels));
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let sqlite = Connection::open(&path).unwrap();
    sqlite.execute_batch("CREATE TABLE later (value TEXT); PRAGMA user_version = 99;").unwrap();
    drop(sqlite);
    let before = std::fs::read(&path).unwrap();
    let set = format!("storage.path={}", path.display());
    let mut command = diarized(&["serve", "--listen", "127.0.0.1:0", "--set", &set]);
    let (code, stdout, stderr) = run(&mut command);
    assert!(code != 0 && stdout.is_empty(), "{code} {stdout}");
    assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("99"), "{stderr}");
    assert!(std::fs::read(&path).unwrap() == before, "not a byte has changed");
}
