//! The media path without IO.
