//! Keys of earlier versions: each works or is ignored with a warning, in a file, in the environment and as a flag.

use std::path::Path;

use diarized_config::{Sources, Value, Warning};

/// Every renamed key: its former name, its name, a value.
const RENAMED: [(&str, &str, &str); 4] = [
    ("stick_llr", "recluster_margin_llr", "5.5"),
    ("hold_back_ms", "label_delay_ms", "500"),
    ("bridge_ms", "max_turn_pause_ms", "700"),
    ("voice_weight", "acoustic_scale", "0.25"),
];

/// Every key that was removed.
const REMOVED: [&str; 4] = ["merge_llr", "absorb_llr", "stranger_margin_llr", "evidence_bound"];

/// The key as it is named in each kind of source, and the source.
fn sources(key: &str, value: &str) -> [(String, Sources); 3] {
    let path = format!("diarization.{key}");
    let variable = format!("DIARIZED_DIARIZATION_{}", key.to_uppercase());
    [
        ("d.toml:2".to_owned(), from_text(&format!("[diarization]\n{key} = {value}\n"))),
        (format!("environment {variable}"), Sources::new().env([(variable.into(), value.into())])),
        ("flag --set".to_owned(), Sources::new().flag("--set", &path, value)),
    ]
}

fn from_text(text: &str) -> Sources {
    Sources::new().file_text(Path::new("d.toml"), text)
}

#[test]
fn a_renamed_key_has_its_effect_and_a_warning_names_the_present_key() {
    for (former, now, value) in RENAMED {
        for (origin, source) in sources(former, value) {
            let loaded = source.load().unwrap();
            let path = format!("diarization.{now}");
            let setting = loaded.settings.iter().find(|setting| setting.key == path).unwrap();
            assert_eq!(
                (setting.value.to_string(), setting.origin.to_string()),
                (value.to_owned(), origin.clone())
            );
            let warnings: Vec<String> = loaded.warnings.iter().map(Warning::to_string).collect();
            let expected =
                format!("{origin}: diarization.{former} is now {path}; the former name still works");
            assert_eq!(warnings, [expected]);
        }
    }
}

#[test]
fn a_removed_key_is_ignored_with_a_warning() {
    let defaults = Sources::new().load().unwrap();
    for former in REMOVED {
        for (origin, source) in sources(former, "0.5") {
            let loaded = source.load().unwrap();
            assert_eq!(loaded.config, defaults.config);
            let warnings: Vec<String> = loaded.warnings.iter().map(Warning::to_string).collect();
            let expected = format!("{origin}: diarization.{former} was removed and is ignored; remove it");
            assert_eq!(warnings, [expected]);
        }
    }
}

#[test]
fn both_names_in_one_source_are_a_fault_that_names_both_places() {
    for (former, now, value) in RENAMED {
        let text = format!("[diarization]\n{now} = {value}\npad_ms = 50\n{former} = {value}\n");
        let message = from_text(&text).load().unwrap_err().to_string();
        assert_eq!(
            message,
            format!(
                "d.toml:4: diarization.{former} and diarization.{now} (d.toml:2) are the same key; remove \
                 diarization.{former}, its former name"
            )
        );
        let variable = |key: &str| format!("DIARIZED_DIARIZATION_{}", key.to_uppercase());
        let env = [(variable(former).into(), value.into()), (variable(now).into(), value.into())];
        let message = Sources::new().env(env).load().unwrap_err().to_string();
        assert!(message.contains(&variable(former)) && message.contains(&variable(now)), "{message}");
    }
}

#[test]
fn a_source_of_higher_priority_wins_under_either_name() {
    for (former, now, value) in RENAMED {
        let (former, now) = (format!("diarization.{former}"), format!("diarization.{now}"));
        for (in_file, as_flag) in [(&former, &now), (&now, &former)] {
            let key = in_file.split_once('.').unwrap().1;
            let low = if value.contains('.') { "0.5" } else { "400" };
            let loaded = from_text(&format!("[diarization]\n{key} = {low}\n"))
                .flag("--set", as_flag, value)
                .load()
                .unwrap();
            let setting = loaded.settings.iter().find(|setting| setting.key == now).unwrap();
            let expected = if value.contains('.') {
                Value::Number(value.parse().unwrap())
            } else {
                Value::Integer(value.parse().unwrap())
            };
            assert_eq!(setting.value, expected, "{in_file} in the file, {as_flag} as a flag");
            assert_eq!(loaded.warnings.len(), 1);
        }
    }
}

#[test]
fn a_faulty_value_is_reported_under_the_name_that_was_written() {
    for (former, ..) in RENAMED {
        let message =
            from_text(&format!("[diarization]\n{former} = \"much\"\n")).load().unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("d.toml:2: diarization.{former} = \"much\": expected ")),
            "{message}"
        );
    }
    // A broken rule between two keys is reported only where both values are possible.
    let message = from_text("[diarization]\nhold_back_ms = 9999\nsettle_ms = 500\n").load().unwrap_err();
    assert_eq!(message.as_slice().len(), 1, "{message}");
}
