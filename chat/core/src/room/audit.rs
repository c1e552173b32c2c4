//! The audit log: what somebody did with their power.

use crate::now::Now;
use crate::record::{Actor, AuditRecord};

/// Somebody uses their power.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed<'a> {
    pub(super) now: Now,
    pub(super) actor: &'a Actor,
    pub(super) reason: &'a str,
}

impl Deed<'_> {
    /// The record of an action, as yet without what was there before and is there after.
    pub(super) fn of(self, action: &'static str, target: &str) -> AuditRecord {
        AuditRecord {
            at_ms: self.now.unix_ms,
            actor: self.actor.user.clone(),
            role: self.actor.role,
            action,
            target: target.to_owned(),
            reason: self.reason.to_owned(),
            before: String::new(),
            after: String::new(),
        }
    }
}

impl AuditRecord {
    pub(super) fn before(self, before: &str) -> Self {
        Self {
            before: before.to_owned(),
            ..self
        }
    }

    pub(super) fn after(self, after: &str) -> Self {
        Self {
            after: after.to_owned(),
            ..self
        }
    }
}
