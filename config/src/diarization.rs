//! `[diarization]`: the parameters of the diarizer, read by their table.

use diarized_parameters::{AT_MOST, DiarizerOptions, PARAMETERS, Parameter, Rule, SPEECH_DETECTORS, Value};

use crate::reader::Reader;

/// Reads every parameter. A faulty value reads as its default.
pub(crate) fn read(r: &mut Reader) -> DiarizerOptions {
    let mut options = DiarizerOptions::default();
    for parameter in &PARAMETERS {
        // The table has the detector before what depends on it.
        let default = parameter.default_with(options.vad_mode);
        options.set(parameter.key, value(r, parameter, default));
    }
    for (key, bound) in AT_MOST {
        let values = options.value(key).number().zip(options.value(bound).number());
        if values.is_some_and(|(value, most)| value > most) {
            r.broken_rule(Parameter::of(key).path, "<=", Parameter::of(bound).path);
        }
    }
    options
}

fn value(r: &mut Reader, parameter: &Parameter, default: Value) -> Value {
    let path = parameter.path;
    match (parameter.rule, default) {
        (Rule::Whole { unit, step, from, to }, Value::Integer(default)) => {
            Value::Integer(r.integer_in_steps(path, unit, step, from..=to, default))
        }
        (Rule::Number { from, to }, Value::Number(default)) => {
            Value::Number(r.number(path, from..=to, default))
        }
        (Rule::Speakers { from, to }, _) => {
            r.optional_integer(path, "of speakers", from..=to).map_or(Value::Unset, Value::Integer)
        }
        (Rule::Detector, Value::Detector(default)) => {
            Value::Detector(r.choice(path, &SPEECH_DETECTORS, default))
        }
        (Rule::Switch, Value::Switch(default)) => Value::Switch(r.boolean(path, default)),
        (_, default) => default,
    }
}
