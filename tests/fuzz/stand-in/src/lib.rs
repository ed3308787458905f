//! As much of `aya-ebpf` as the kernel program uses, in plain memory: what the kernel does for it there, the host does
//! here, so that its sources compile unmodified and run in a process of their own.
//!
//! Limits: there is one CPU, and nothing here may be used by two threads at once. Maps hold what is put into them,
//! whatever capacity they declare.

pub mod bindings;
pub mod btf_maps;
mod functions;
pub mod machine;
pub mod programs;

/// Functions of the kernel, under the name that they have in aya-ebpf.
pub mod helpers {
    pub use crate::functions::{bpf_get_smp_processor_id, generated};
}

/// Attributes.
pub mod macros {
    pub use kernel_stand_in_macros::btf_map;
}

/// `aya-log`'s: what would be said is put together, and not said.
#[macro_export]
macro_rules! info {
    ($context:expr, target: $target:expr, $format:literal $(, $argument:expr)* $(,)?) => {{
        let _: (&$crate::programs::XdpContext, &str, &str) = ($context, $target, $format);
        $(let _ = &$argument;)*
    }};
}
