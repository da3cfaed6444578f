//! Keys of earlier versions: renamed ones still work, removed ones are ignored, each with a warning.

use std::collections::BTreeMap;

use crate::fault::{Fault, FaultKind, Warning};
use crate::layers::{Layers, variable_of};
use crate::raw::Raw;

/// A key of an earlier version, and its present name; `None` if it was removed.
pub(crate) const FORMER_KEYS: [(&str, Option<&str>); 8] = [
    ("diarization.stick_llr", Some("diarization.recluster_margin_llr")),
    ("diarization.hold_back_ms", Some("diarization.label_delay_ms")),
    ("diarization.bridge_ms", Some("diarization.max_turn_pause_ms")),
    ("diarization.voice_weight", Some("diarization.acoustic_scale")),
    ("diarization.merge_llr", None),
    ("diarization.absorb_llr", None),
    ("diarization.stranger_margin_llr", None),
    ("diarization.evidence_bound", None),
];

/// The present name of a key under any of its names.
pub(crate) fn present_name(key: &str) -> &str {
    FORMER_KEYS.iter().find(|(former, _)| *former == key).and_then(|(_, now)| *now).unwrap_or(key)
}

/// Moves the values of former keys to the present ones. Both names in one source are a fault; in different sources the
/// usual priority holds.
pub(crate) fn rename(layers: &mut Layers, faults: &mut Vec<Fault>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (key, now) in FORMER_KEYS {
        let name = |key: &str| key.to_owned();
        for (layer, name_of) in [
            (&mut layers.file, &name as &dyn Fn(&str) -> String),
            (&mut layers.env, &variable_of),
            (&mut layers.flags, &name),
        ] {
            let Some(raw) = layer.remove(&name_of(key)) else { continue };
            warnings.push(Warning::FormerKey { origin: raw.origin.clone(), key, now });
            if let Some(now) = now {
                insert(layer, name_of(now), key, now, raw, faults);
            }
        }
    }
    warnings
}

fn insert(
    layer: &mut BTreeMap<String, Raw>,
    name: String,
    key: &'static str,
    now: &'static str,
    raw: Raw,
    faults: &mut Vec<Fault>,
) {
    match layer.get(&name) {
        None => {
            layer.insert(name, Raw { written_as: Some(key), ..raw });
        }
        Some(other) => {
            let kind = FaultKind::BothNames { key, now, other: other.origin.clone() };
            faults.push(Fault { origin: raw.origin, kind });
        }
    }
}
