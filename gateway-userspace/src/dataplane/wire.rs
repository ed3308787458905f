//! Carries the structs of `gateway_common` through `aya`.

use gateway_common::KernelPod;

/// A value of the border. `aya` wants its own marker trait, which cannot be implemented for a type of
/// another crate.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Wire<T>(pub T);

// SAFETY: `KernelPod` promises what `aya::Pod` asks for: no padding, no pointer, any bit pattern is valid.
unsafe impl<T: KernelPod> aya::Pod for Wire<T> {}
