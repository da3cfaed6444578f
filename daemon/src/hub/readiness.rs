//! Whether the server does what it is there for, and what people should know besides.

use super::registry::Hub;

impl Hub {
    /// Makes readiness depend on something besides sessions, such as a device.
    pub fn check(&self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.lock().push(Box::new(check));
    }

    /// Adds something that people should know though the server is ready.
    pub fn remark(&self, remark: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.remarks.lock().push(Box::new(remark));
    }

    /// What people should know though the server is ready.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.lock().iter().filter_map(|remark| remark()).collect()
    }

    /// Whether the server does what it is there for: it takes sessions, its workers run, its device is there.
    ///
    /// # Errors
    /// What is not well, for people.
    pub fn readiness(&self) -> Result<(), String> {
        if *self.shutting_down.borrow() {
            return Err("shutting down".to_owned());
        }
        let inference = self.inference();
        if inference.alive < inference.threads {
            return Err(format!("{} of {} inference threads run", inference.alive, inference.threads));
        }
        self.checks.lock().iter().try_for_each(|check| check())
    }
}
