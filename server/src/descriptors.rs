//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. The soft one is small for the sake of programs that use
/// `select`, and a server that has used it up answers nobody, not even its operators.
pub(crate) fn raise(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let now = getrlimit(Resource::Nofile).current;
    if let Some(now) = now.filter(|now| *now < wanted) {
        tracing::warn!(
            now,
            wanted,
            "fewer open files are allowed than connections by the configuration: raise the hard \
             limit (LimitNOFILE in the unit) or lower connections_max and tcp_connections_max"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise(0);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
