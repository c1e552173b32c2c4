//! Who may make a link: certificates of a private CA, checked at both ends (TLS 1.3).

mod credentials;
mod issue;
mod refusal;
mod verify;

pub use credentials::{CertificateFiles, Credentials, CredentialsError};
pub use issue::{IssueError, Issued, NOT_BEFORE_MARGIN, issue_ca, issue_node};
pub use refusal::Refusal;
pub(crate) use refusal::refusal_of_alert;
pub(crate) use verify::identity;
