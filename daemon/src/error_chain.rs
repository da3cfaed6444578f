//! An error and its causes on one line.

use std::error::Error;

/// The error and its causes, joined by colons. A cause that the line contains already is left out.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
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
    fn every_cause_appears_once() {
        let io = || std::io::Error::from_raw_os_error(2);
        let only = anyhow::Error::from(io()).context("cannot read a.wav");
        assert_eq!(error_chain(&*only), "cannot read a.wav: No such file or directory (os error 2)");
        let worded =
            anyhow::Error::from(io()).context(format!("cannot read a.wav ({}): check the name", io()));
        assert_eq!(
            error_chain(&*worded),
            "cannot read a.wav (No such file or directory (os error 2)): check the name"
        );
        let deep = worded.context("nothing was done");
        assert_eq!(error_chain(&*deep).matches("No such file").count(), 1);
    }
}
