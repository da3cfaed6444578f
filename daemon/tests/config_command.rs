//! `diarized config` as a person runs it: what it prints, where, and its exit codes.

mod common;

use std::path::Path;

use common::{diarized, run};

#[test]
fn the_default_is_a_file_that_checks_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, example, stderr) = run(&mut diarized(&["config", "--default"]));
    assert_eq!((code, &*stderr), (0, ""));
    let path = folder.path().join("diarized.toml");
    std::fs::write(&path, &example).unwrap();
    let path = path.to_str().unwrap();

    let (code, stdout, stderr) = run(&mut diarized(&["config", "--check", path]));
    assert_eq!((code, stdout, &*stderr), (0, format!("{path}: no faults\n"), ""));
    let (_, with_file, _) = run(&mut diarized(&["config", "--config", path]));
    let (_, without, _) = run(&mut diarized(&["config"]));
    assert_eq!(with_file, without);
    assert!(without.lines().filter(|line| line.contains(" = ")).all(|line| line.ends_with("# default")));
}

#[test]
fn each_value_tells_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.toml");
    std::fs::write(&path, "[server]\nmax_sessions = 3\nmax_connections = 4\n").unwrap();
    let path = path.to_str().unwrap();
    let mut command = diarized(&["config", "--set", "log.level=debug"]);
    command.env("DIARIZED_CONFIG", path).env("DIARIZED_SERVER_MAX_CONNECTIONS", "5");
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!((code, &*stderr), (0, ""));
    let line = |key: &str| {
        let line = stdout.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("max_sessions"), format!("max_sessions = 3 # {path}:2"));
    assert_eq!(line("max_connections"), "max_connections = 5 # environment DIARIZED_SERVER_MAX_CONNECTIONS");
    assert_eq!(line("level"), "level = \"debug\" # flag --set");

    let (_, stdout, _) = run(command.arg("--json"));
    let settings: Vec<serde_json::Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let setting = settings.iter().find(|s| s["key"] == "server.max_sessions").unwrap();
    let expected = serde_json::json!({"key": "server.max_sessions", "value": 3,
        "origin": {"from": "file", "path": path, "line": 2}});
    assert_eq!(*setting, expected);
}

#[test]
fn every_fault_is_told_and_the_exit_code_says_which_kind() {
    let broken = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/broken/every_fault.toml");
    let (code, stdout, stderr) = run(&mut diarized(&["config", "--check", broken.to_str().unwrap()]));
    assert_eq!((code, &*stdout), (78, ""));
    assert!(stderr.starts_with("diarized: the configuration has 19 faults:\n"), "{stderr}");
    assert_eq!(stderr.lines().count(), 20);

    let (code, _, stderr) = run(&mut diarized(&["config", "--check", "/nowhere/d.toml"]));
    assert_eq!(code, 66);
    assert_eq!(
        stderr,
        "diarized: cannot read the configuration file /nowhere/d.toml: No such file or directory (os error 2)\n"
    );

    let (code, _, stderr) = run(diarized(&["config"]).env("DIARIZED_LOG_LEVEL", "loud"));
    assert_eq!(code, 78);
    assert!(stderr.contains("environment DIARIZED_LOG_LEVEL: log.level = loud: expected one of"), "{stderr}");

    let (code, _, stderr) = run(diarized(&["config"]).env("DIARIZED_LOG_LEVLE", "info"));
    assert_eq!(code, 0);
    assert!(stderr.contains("DIARIZED_LOG_LEVLE names no key and is ignored; did you mean"), "{stderr}");
}

#[test]
fn keys_of_earlier_versions_are_warned_of_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.toml");
    std::fs::write(&path, "[diarization]\nstick_llr = 5\nmerge_llr = 1\n").unwrap();
    let path = path.to_str().unwrap();
    let warnings = format!(
        "diarized: warning: {path}:2: diarization.stick_llr is now diarization.recluster_margin_llr; the former name \
         still works\n\
         diarized: warning: {path}:3: diarization.merge_llr was removed and is ignored; remove it\n"
    );
    let (code, stdout, stderr) = run(&mut diarized(&["config", "--check", path]));
    assert_eq!((code, stdout, &stderr), (0, format!("{path}: no faults\n"), &warnings));
    let (code, stdout, stderr) = run(&mut diarized(&["config", "--config", path]));
    assert_eq!((code, &stderr), (0, &warnings));
    let line = stdout.lines().find(|line| line.starts_with("recluster_margin_llr = 5 ")).unwrap();
    assert!(line.ends_with(&format!("# {path}:2")), "{line}");

    // The server warns at its start; here an address without authentication stops it.
    let (code, _, stderr) = run(&mut diarized(&["serve", "--config", path, "--listen", "0.0.0.0:0"]));
    assert!(code == 78 && stderr.starts_with(&warnings), "{stderr}");

    std::fs::write(path, "[diarization]\nstick_llr = 5\nrecluster_margin_llr = 5\n").unwrap();
    let (code, _, stderr) = run(&mut diarized(&["config", "--check", path]));
    assert_eq!(code, 78);
    assert!(stderr.contains(":2: ") && stderr.contains(":3) are the same key"), "{stderr}");
}

/// The lines of a text that a manifest holds under a key, without their indentation.
fn embedded(manifest: &str, key: &str) -> String {
    let (_, text) = manifest.split_once(&format!("  {key}: |\n")).unwrap();
    let lines = text.lines().map_while(|line| line.strip_prefix("    ").or(line.is_empty().then_some("")));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_node_of_the_manifests_and_of_the_template_unit_is_configured() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("diarized.toml");
    let manifest = std::fs::read_to_string(packaging.join("kubernetes/configmap.yaml")).unwrap();
    std::fs::write(&path, embedded(&manifest, "diarized.toml")).unwrap();
    let path = path.to_str().unwrap();
    let mut command = diarized(&["config", "--config", path]);
    // As the StatefulSet and the unit set them.
    command.env("DIARIZED_CLUSTER_NODE", "diarized-0");
    command.env("DIARIZED_CLUSTER_ADDRESS", "http://diarized-0.diarized-nodes:7007");
    command.env("DIARIZED_STORAGE_PATH", "/var/lib/diarized/one/sessions.sqlite");
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!((code, &*stderr), (0, ""));
    for line in ["node = \"diarized-0\"", "replicas = 3", "path = \"/var/lib/diarized/one/sessions.sqlite\""]
    {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
}
