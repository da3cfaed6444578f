//! Sessions by the token that opened them, and its limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::open_error::OpenError;
use super::registry::{Hub, Inner};
use crate::access::TenantId;
use crate::session::{Session, Source};
use crate::tenants::Tenants;

impl Hub {
    /// Applies the limits of tokens from now on. Only the first call counts.
    pub(crate) fn set_tenants(&self, tenants: &Arc<Tenants>) {
        let _ = self.tenants.set(Arc::clone(tenants));
    }

    /// The limits of tokens, where there are tokens.
    pub(crate) fn tenants(&self) -> Option<&Arc<Tenants>> {
        self.tenants.get()
    }

    /// The session is fed by the client with this token from now on. It counts for the token that opened it, where that
    /// is known.
    pub(crate) fn set_owner(&self, session: &Session, owner: &str) {
        session.set_owner(owner);
        if let Some(tenant) = self.tenants().and_then(|tenants| tenants.id_of(owner)) {
            session.set_tenant(tenant);
        }
    }

    /// A client was refused by a limit of its token.
    pub(super) fn count_over_limit(&self) {
        if let Some(tenants) = self.tenants() {
            tenants.count_refused();
        }
    }

    /// Number of sessions of a token that run, on all nodes.
    pub(crate) fn n_running_of(&self, tenant: &TenantId) -> usize {
        self.n_running(&self.inner.lock(), tenant)
    }

    fn n_running(&self, inner: &Inner, tenant: &TenantId) -> usize {
        let here = inner.live_of(tenant);
        let elsewhere = self.elsewhere().map(|elsewhere| elsewhere.running_of(tenant)).unwrap_or_default();
        // Two nodes may have one session, until one of them knows that the other has it.
        let others = elsewhere.iter().filter(|id| !here.contains(id.as_str())).count();
        here.len() + others
    }

    /// Whether the client with this token may open a session now; `inner` is locked, so that of two at once one counts.
    ///
    /// # Errors
    /// [`OpenError::OverLimit`]
    pub(super) fn may_open(&self, inner: &Inner, owner: &str) -> Result<(), OpenError> {
        let Some(tenants) = self.tenants() else { return Ok(()) };
        let Some(tenant) = tenants.id_of(owner) else { return Ok(()) };
        Ok(tenants.may_open(&tenant, self.n_running(inner, &tenant))?)
    }
}

impl Inner {
    /// Ids of the sessions of a token that run here.
    fn live_of(&self, tenant: &TenantId) -> BTreeSet<&str> {
        let is_of = |session: &&Arc<Session>| {
            session.channel().source() == Source::Stream
                && session.tenant() == Some(tenant)
                && session.end_reason().is_none()
                && !session.channel().is_over()
        };
        self.order.iter().filter(is_of).map(|session| session.id()).collect()
    }
}
