//! Faults of a media thread that tests cause. Release builds have none: there is nothing to ask for
//! them, and looking for them is nothing.

#[cfg(debug_assertions)]
mod caused {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// What is to happen to a media thread.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fault {
        /// It panicks outside of any session.
        Panic = 1,
        /// Its poller fails.
        Poller = 2,
    }

    /// Shared by a shard's port and its thread.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Faults(Arc<AtomicU8>);

    impl Faults {
        pub(crate) fn cause(&self, fault: Fault) {
            self.0.store(fault as u8, Ordering::Release);
        }

        /// Lets the fault happen that was asked for.
        pub(crate) fn happen(&self) -> io::Result<()> {
            match self.0.load(Ordering::Acquire) {
                0 => Ok(()),
                1 => panic!("a test asked for it"),
                _ => Err(io::Error::other("a test asked for it")),
            }
        }
    }
}

#[cfg(not(debug_assertions))]
mod caused {
    use std::io;

    #[derive(Clone, Debug, Default)]
    pub(crate) struct Faults;

    impl Faults {
        #[inline]
        pub(crate) fn happen(&self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(debug_assertions)]
pub use caused::Fault;
pub(crate) use caused::Faults;
