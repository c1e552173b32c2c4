//! Telling datagrams apart.
