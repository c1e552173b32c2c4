//! The audit log: what somebody did with their power.

use super::{Actor, Room};
use crate::now::Now;
use crate::record::{AuditRecord, Record};

impl Room {
    #[expect(
        clippy::too_many_arguments,
        reason = "an audit record's fields, in their order"
    )]
    pub(super) fn audit(
        &mut self,
        now: Now,
        actor: &Actor,
        action: &'static str,
        target: &str,
        reason: &str,
        before: &str,
        after: &str,
    ) -> AuditRecord {
        let record = AuditRecord {
            at_ms: now.unix_ms,
            actor: actor.user.clone(),
            role: actor.role,
            action,
            target: target.to_owned(),
            reason: reason.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        self.records.push(Record::Audit(record.clone()));
        record
    }
}
