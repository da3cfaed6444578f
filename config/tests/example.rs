//! The section `[diarization]` of the example equals the table of parameters.

use diarized_config::EXAMPLE;
use diarized_parameters::{AT_MOST, PARAMETERS, Parameter, Value};

/// Width of a comment in the example.
const WIDTH: usize = 124;
/// Starts the parameters that decide between one speaker and two.
const EVIDENCE: &str = "The following keys control the decision between one speaker and two. Keys in _llr are \
    natural-logarithm likelihood ratios. The defaults are fitted to the built-in model.";

fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if last.len() + 1 + word.len() > WIDTH {
            lines.push(format!("# {word}"));
        } else {
            *last += &format!(" {word}");
        }
    }
    lines.join("\n")
}

/// A parameter with its text, range and bounds as a comment, and its default.
fn block(parameter: &Parameter) -> String {
    let mut rule = parameter.rule.to_string();
    rule[..1].make_ascii_uppercase();
    let bounds = AT_MOST.iter().filter(|(key, _)| *key == parameter.key);
    let bounds: String = bounds.map(|(_, bound)| format!("; at most {bound}")).collect();
    let default = match parameter.default {
        Value::Unset | Value::Detector(_) => format!("\"{}\"", parameter.default),
        other => other.to_string(),
    };
    format!("{}\n#{} = {default}\n", comment(&format!("{} {rule}{bounds}.", parameter.text)), parameter.key)
}

fn section() -> String {
    let mut blocks = Vec::new();
    for parameter in &PARAMETERS {
        if parameter.key == "recluster_margin_llr" {
            blocks.push(comment(EVIDENCE) + "\n");
        }
        blocks.push(block(parameter));
    }
    format!("[diarization]\n\n{}", blocks.join("\n"))
}

#[test]
fn the_section_of_the_example_is_that_of_the_table() {
    let section = section();
    assert!(EXAMPLE.contains(&section), "config/diarized.toml must contain:\n\n{section}");
}
