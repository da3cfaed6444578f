//! Loads what is shipped, what is broken and what is random; checks precedence, origins and messages.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use diarized_config::{
    AllowedOrigin, Channel, Config, ConfigError, EXAMPLE, LogFormat, Origin, Sources, SpeechDetector, Value,
    Warning,
};
use proptest::prelude::*;

/// The example with every commented setting made active.
fn example_uncommented() -> String {
    let is_setting = |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_lowercase());
    EXAMPLE
        .lines()
        .map(|line| if is_setting(&line) { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

fn from_text(text: &str) -> Sources {
    Sources::new().file_text(Path::new("diarized.toml"), text)
}

fn messages(sources: Sources) -> String {
    sources.load().expect_err("the sources are faulty").to_string()
}

fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let defaults = Sources::new().load().unwrap();
    let as_shipped = from_text(EXAMPLE).load().unwrap();
    assert_eq!(as_shipped, defaults, "as shipped, every setting of the example is commented out");

    let example = from_text(&example_uncommented()).load().unwrap();
    assert_eq!(example.config, Config::default());
    for (setting, default) in example.settings.iter().zip(&defaults.settings) {
        assert_eq!((setting.key, &setting.value), (default.key, &default.value));
        assert!(matches!(setting.origin, Origin::File { .. }), "{} is not in the example", setting.key);
    }
    assert_eq!(example.settings.len(), defaults.settings.len());
}

#[test]
fn broken_files_give_the_messages_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut n_files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        n_files += 1;
        let name = path.file_name().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let got = messages(Sources::new().file_text(Path::new(name), &text)) + "\n";
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        assert_eq!(got, expected, "{}", path.display());
    }
    assert!(n_files >= 4, "{n_files} broken files found");
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let file = "[diarization]\nwindow_ms = 2000\nstep_ms = 500\npad_ms = 10\n";
    let loaded = from_text(file)
        .env(vars(&[("DIARIZED_DIARIZATION_STEP_MS", "400"), ("DIARIZED_DIARIZATION_PAD_MS", "20")]))
        .flag("--pad-ms", "diarization.pad_ms", "30")
        .load()
        .unwrap();
    let diarization = &loaded.config.diarization;
    assert_eq!((diarization.window_ms, diarization.step_ms, diarization.pad_ms), (2000, 400, 30));
    let origin =
        |key: &str| loaded.settings.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
    assert_eq!(origin("diarization.window_ms"), "diarized.toml:2");
    assert_eq!(origin("diarization.step_ms"), "environment DIARIZED_DIARIZATION_STEP_MS");
    assert_eq!(origin("diarization.pad_ms"), "flag --pad-ms");
    assert_eq!(origin("diarization.final_pass"), "default");
}

#[test]
fn every_key_can_be_set_from_the_environment_and_by_flag() {
    for setting in Sources::new().load().unwrap().settings {
        let variable = format!("DIARIZED_{}", setting.key.replace('.', "_").to_uppercase());
        let text = match &setting.value {
            Value::Text(text) => text.clone(),
            Value::List(items) if items.is_empty() => "none".to_owned(),
            Value::List(items) => items.join(","),
            Value::Unset => "none".to_owned(),
            value => value.to_string(),
        };
        let from_env = Sources::new().env(vars(&[(&variable, &text)])).load().unwrap();
        let from_flag = Sources::new().flag("--set", setting.key, text).load().unwrap();
        for (loaded, origin) in [
            (from_env, Origin::Environment { name: variable }),
            (from_flag, Origin::Flag { name: "--set".to_owned() }),
        ] {
            let got = loaded.settings.iter().find(|got| got.key == setting.key).unwrap();
            assert_eq!((&got.value, &got.origin), (&setting.value, &origin));
        }
    }
}

#[test]
fn values_of_every_type_arrive() {
    let config = from_text(
        "[server]\nlisten = [\"0.0.0.0:1\", \"[::1]:2\"]\nidle_timeout_s = 90.5\nmax_frame_bytes = 64_000\n\
         [capture]\nenabled = true\nchannel = 3\ndevice = \"USB \\\"mic\\\"\"\n\
         [model]\npath = \"models/mine\"\n\
         [diarization]\nvad_mode = \"quality\"\nexpected_speakers = 2\nfinal_pass = false\n\
         [log]\nformat = \"json\"\n",
    )
    .load()
    .unwrap()
    .config;
    assert_eq!(config.server.listen.iter().map(|a| a.port()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(config.server.idle_timeout, Duration::from_millis(90_500));
    assert_eq!(config.server.max_frame_bytes, 64_000);
    assert!(config.capture.enabled && !config.diarization.final_pass);
    assert_eq!(config.capture.channel, Channel::One(3));
    assert_eq!(config.capture.device, "USB \"mic\"");
    assert_eq!(config.diarization.vad_mode, SpeechDetector::WebRtc { mode: 0 });
    assert_eq!(config.diarization.expected_speakers, Some(2));
    assert_eq!(config.log.format, LogFormat::Json);

    let env = [("DIARIZED_SERVER_LISTEN", "127.0.0.1:8, [::1]:9"), ("DIARIZED_CAPTURE_ENABLED", "yes")];
    let config = Sources::new().env(vars(&env)).load().unwrap().config;
    assert_eq!(config.server.listen.iter().map(|a| a.port()).collect::<Vec<_>>(), [8, 9]);
    assert!(config.capture.enabled);
}

#[test]
fn a_path_in_a_file_is_relative_to_the_file() {
    let text = "[model]\npath = \"zoo/mine\"\n";
    let path_of = |sources: Sources| sources.load().unwrap().config.model.path.unwrap();
    let in_etc = Sources::new().file_text(Path::new("/etc/diarized/diarized.toml"), text);
    assert_eq!(path_of(in_etc), Path::new("/etc/diarized/zoo/mine"));
    assert_eq!(path_of(from_text(text)), Path::new("zoo/mine"));
    assert_eq!(path_of(Sources::new().flag("--model", "model.path", "zoo/mine")), Path::new("zoo/mine"));
    let absolute = Sources::new().file_text(Path::new("/etc/d.toml"), "[model]\npath = \"/zoo\"\n");
    assert_eq!(path_of(absolute), Path::new("/zoo"));
}

#[test]
fn none_takes_back_what_a_lower_layer_set() {
    let sources = from_text("[diarization]\nmax_speakers = 4\n[model]\npath = \"x\"\n")
        .env(vars(&[("DIARIZED_DIARIZATION_MAX_SPEAKERS", "none")]))
        .flag("--model", "model.path", "none");
    let config = sources.load().unwrap().config;
    assert_eq!((config.diarization.max_speakers, config.model.path), (None, None));
}

#[test]
fn faults_of_the_environment_and_of_flags_name_them() {
    let sources = from_text("[server]\nmax_sessions = 0\n")
        .env(vars(&[("DIARIZED_LOG_FORMAT", "xml")]))
        .flag("--speakers", "diarization.expected_speakers", "two")
        .flag("--set", "diarization.window", "3");
    assert_eq!(
        messages(sources),
        "the configuration has 4 faults:\n  \
         diarized.toml:2: server.max_sessions = 0: expected a whole number from 1 to 100000\n  \
         environment DIARIZED_LOG_FORMAT: log.format = xml: expected one of \"text\", \"json\"\n  \
         flag --speakers: diarization.expected_speakers = two: expected a whole number of speakers from 1 to \
         1000, or \"none\"\n  \
         flag --set: unknown key diarization.window; did you mean diarization.window_ms?"
    );
}

#[test]
fn unknown_variables_are_told_and_empty_ones_count_as_not_set() {
    let env = [
        ("DIARIZED_SERVICE_HOST", "10.0.0.1"),
        ("DIARIZED_LOG_LEVLE", "debug"),
        ("DIARIZED_LOG_LEVEL", ""),
        ("DIARIZED_CONFIG", "/etc/diarized.toml"),
        ("PATH", "/bin"),
    ];
    let loaded = Sources::new().env(vars(&env)).load().unwrap();
    assert_eq!(loaded.config, Config::default());
    let expected = [
        Warning::UnknownVariable {
            name: "DIARIZED_LOG_LEVLE".to_owned(),
            suggestion: Some("DIARIZED_LOG_LEVEL".to_owned()),
        },
        Warning::UnknownVariable { name: "DIARIZED_SERVICE_HOST".to_owned(), suggestion: None },
    ];
    assert_eq!(loaded.warnings, expected);
}

#[test]
fn the_effective_configuration_loads_to_itself() {
    let loaded =
        from_text("[server]\nlisten = [\"0.0.0.0:1\", \"[::1]:2\"]\n[capture]\ndevice = \"a\\\"b\\\\#\"\n")
            .flag("--speakers", "diarization.expected_speakers", "3")
            .load()
            .unwrap();
    let text = loaded.to_toml();
    assert!(text.contains("# flag --speakers") && text.contains("# diarized.toml:2"), "{text}");
    assert_eq!(from_text(&text).load().unwrap().config, loaded.config);
}

#[test]
fn files_that_are_no_configuration_are_told_apart() {
    let folder = std::env::temp_dir().join(format!("diarized-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        Sources::new().file(&path)
    };
    assert!(matches!(file("bytes", b"abc\xff"), Err(ConfigError::NotText { offset: 3, .. })));
    assert!(matches!(file("long", &vec![b'#'; (1 << 20) + 1]), Err(ConfigError::TooLong { .. })));
    assert!(matches!(Sources::new().file(&folder), Err(ConfigError::Read { .. })));
    assert!(matches!(Sources::new().file(&folder.join("absent")), Err(ConfigError::Read { .. })));
    assert_eq!(file("empty", b"").unwrap().load().unwrap().config, Config::default());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_a_fault_of_its_key() {
    use std::os::unix::ffi::OsStringExt as _;
    let value = OsString::from_vec(vec![b'a', 0xff]);
    let text = messages(Sources::new().env([("DIARIZED_CAPTURE_DEVICE".into(), value)]));
    assert!(text.starts_with("environment DIARIZED_CAPTURE_DEVICE: capture.device = a"), "{text}");
}

/// Text that is often nearly a configuration: lines of the example, cut, joined and mixed with noise.
fn nearly_toml() -> impl Strategy<Value = String> {
    let lines: Vec<String> = example_uncommented().lines().map(str::to_owned).collect();
    let piece = prop_oneof![
        4 => proptest::sample::select(lines),
        1 => "\\PC{0,12}",
        1 => "[a-z_]{1,10} = [-0-9.e\\[\\]{}\"#'a-z]{0,12}",
    ];
    let cut = |(line, keep): (String, usize)| line.chars().take(keep).collect::<String>();
    proptest::collection::vec((piece, 0..60_usize).prop_map(cut), 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in nearly_toml()) {
        check(from_text(&text));
    }

    #[test]
    fn no_noise_panics(text in "\\PC{0,200}") {
        check(from_text(&text));
    }

    #[test]
    fn no_value_of_any_key_panics(key_idx in 0..100_usize, text in "\\PC{0,20}", number in any::<f64>()) {
        let settings = Sources::new().load().unwrap().settings;
        let key = settings[key_idx % settings.len()].key;
        check(Sources::new().flag("--set", key, text));
        check(Sources::new().flag("--set", key, number.to_string()));
        let (section, word) = key.split_once('.').unwrap();
        check(from_text(&format!("[{section}]\n{word} = {number:?}\n")));
    }
}

/// A configuration either loads and shows itself as text that loads to the same, or reports its faults.
fn check(sources: Sources) {
    match sources.load() {
        Ok(loaded) => assert_eq!(from_text(&loaded.to_toml()).load().unwrap().config, loaded.config),
        Err(faults) => assert!(!faults.as_slice().is_empty() && !faults.to_string().is_empty()),
    }
}

#[test]
fn what_guards_the_server_is_checked() {
    let text = "[server]\nallowed_origins = [\"https://a.example\", \"*\"]\ntls_certificate = \"a.pem\"\ntls_key = \"a.key\"\n";
    let server = from_text(text).load().unwrap().config.server;
    let texts = |origins: &[AllowedOrigin]| origins.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&server.allowed_origins), ["https://a.example", "*"]);
    assert_eq!(server.tls_key.as_deref(), Some(Path::new("a.key")));
    let single = from_text("[server]\nallowed_origins = \"http://a:1\"\n").load().unwrap();
    assert_eq!(texts(&single.config.server.allowed_origins), ["http://a:1"]);
    let from_env = [("DIARIZED_SERVER_ALLOWED_ORIGINS", "http://a, https://b"), ("DIARIZED_TOKEN", "dz_1")];
    let loaded = Sources::new().env(vars(&from_env)).load().unwrap();
    assert_eq!((loaded.config.server.allowed_origins.len(), loaded.warnings), (2, vec![]));
    let path = messages(from_text("[server]\nallowed_origins = [\"https://a.example/page\"]\n"));
    assert!(path.contains("server.allowed_origins") && path.contains("without a path"), "{path}");
    let half = messages(from_text("[server]\ntls_key = \"a.key\"\n"));
    assert!(half.contains("must be set together with server.tls_key"), "{half}");
    let days = from_text("[storage]\nkeep_days = \"none\"\n").load().unwrap().config.storage.keep_days;
    assert_eq!((days, Config::default().storage.keep_days), (None, Some(30)));
}

#[test]
fn sources_are_tables_or_a_list_or_both() {
    let text = r#"
[sources]
urls = ["door=rtsp://camera/1", "http://radio.example/live"]

[[source]]
name = "hall"
url = "pulse:hall_mic"

[[source]]
name = "file"
url = "talks/a.flac"
"#;
    let loaded = from_text(text).load().unwrap();
    let all: Vec<_> = loaded.config.sources.urls.iter().map(ToString::to_string).collect();
    let expected = [
        "door=rtsp://camera/1",
        "radio-example-live=http://radio.example/live",
        "hall=pulse:hall_mic",
        "file=talks/a.flac",
    ];
    assert_eq!(all, expected);
    assert_eq!(from_text(&loaded.to_toml()).load().unwrap().config, loaded.config, "shown as a list");
    let flag = from_text(text).flag("--source", "sources.urls", "a=-").load().unwrap();
    assert_eq!(flag.config.sources.urls.len(), 1, "a flag wins over both");
    let tables = from_text("[[source]]\nname = \"a\"\nurl = \"-\"\n").load().unwrap();
    let setting = tables.settings.iter().find(|setting| setting.key == "sources.urls").unwrap();
    assert_eq!(setting.origin.to_string(), "diarized.toml:1");
    let same = "[sources]\nurls = [\"a=b\"]\n[[source]]\nname = \"a\"\nurl = \"c\"\n";
    assert!(messages(from_text(same)).contains("different names"), "{}", messages(from_text(same)));
}
