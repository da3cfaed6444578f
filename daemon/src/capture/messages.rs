//! Keeps the sound system's own warnings off standard error during the search for devices.

/// Collects messages of alsa-lib on this thread from now on, for the life of the thread; dropping it writes them to the
/// log, at the level `debug`.
#[derive(Debug)]
pub(super) struct SystemMessages {
    #[cfg(target_os = "linux")]
    collected: Option<std::rc::Rc<std::cell::RefCell<alsa::Output>>>,
}

impl SystemMessages {
    /// Begins to collect. Where it cannot, the warnings go where they always went.
    pub(super) fn collect() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            collected: alsa::Output::local_error_handler().ok(),
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for SystemMessages {
    fn drop(&mut self) {
        let Some(collected) = &self.collected else { return };
        for message in collected.borrow().to_string().lines() {
            tracing::debug!(message, "alsa-lib");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_the_sound_system_are_collected() {
        let messages = SystemMessages::collect();
        let opened = alsa::pcm::PCM::new("no such device at all", alsa::Direction::Capture, true);
        assert!(opened.is_err());
        let text = messages.collected.as_ref().unwrap().borrow().to_string();
        assert!(text.contains("no such device at all"), "{text:?}");
    }
}
