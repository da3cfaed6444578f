//! An error in one line for a person.

use std::error::Error;

/// The error and its causes, joined by colons. A cause whose words the line holds already is not said twice.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !line.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let io = || std::io::Error::from_raw_os_error(2);
        let only = anyhow::Error::from(io()).context("cannot read a.wav");
        assert_eq!(told(&*only), "cannot read a.wav: No such file or directory (os error 2)");
        let said = anyhow::Error::from(io()).context(format!("cannot read a.wav ({}): check the name", io()));
        assert_eq!(
            told(&*said),
            "cannot read a.wav (No such file or directory (os error 2)): check the name"
        );
        let deep = said.context("nothing was done");
        assert_eq!(told(&*deep).matches("No such file").count(), 1);
    }
}
