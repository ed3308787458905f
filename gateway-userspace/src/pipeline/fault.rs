//! Faults on demand: how tests see that a panic ends one request and nothing else.
//!
//! Only a debug build has them. There, with `PORTCULLIS_FAULT_PANIC=/path` in the environment of the process, every
//! request for exactly that path panics while it is decided.

/// Panics if this is the path that is asked for; nothing at all in a release build.
#[inline]
pub(super) fn point(path: &str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::OnceLock;
        static PATH: OnceLock<Option<String>> = OnceLock::new();
        let wanted = PATH.get_or_init(|| std::env::var("PORTCULLIS_FAULT_PANIC").ok());
        assert!(wanted.as_deref() != Some(path), "a fault that was asked for, at {path}");
    }
    #[cfg(not(debug_assertions))]
    let _ = path;
}
