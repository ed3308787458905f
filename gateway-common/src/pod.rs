//! Structs that cross the border between kernel and userspace.
//!
//! A struct is declared with [`kernel_pod!`](crate::kernel_pod), which states its size and alignment and
//! refuses to compile if the compiler would add padding: padding bytes would carry kernel or process
//! memory across the border, and would differ between two compilers.

/// Plain old data: any bit pattern is a value, there is no padding, no pointer and no lifetime.
///
/// # Safety
/// The type must be `#[repr(C)]` or primitive, without padding, and valid for every bit pattern.
/// Do not implement it by hand, use [`kernel_pod!`](crate::kernel_pod).
pub unsafe trait KernelPod: Copy + Send + Sync + 'static {}

macro_rules! primitive {
    ($($integer:ty),*) => {
        $(
            // SAFETY: an integer has no padding and no invalid bit pattern.
            unsafe impl KernelPod for $integer {}
        )*
    };
}
primitive!(u8, u16, u32, u64);

// SAFETY: an array of plain old data has no padding between its elements.
unsafe impl<T: KernelPod, const N: usize> KernelPod for [T; N] {}

/// Declares a struct of the border: `#[repr(C)]`, with asserted size, alignment and absence of padding.
///
/// The size is written out in the declaration on purpose: a reader sees it, and a change of it shows in a
/// diff, next to which [`ABI_VERSION`](crate::ABI_VERSION) has to change too.
#[macro_export]
macro_rules! kernel_pod {
    (
        $(#[$meta:meta])*
        pub struct $name:ident (size = $size:literal, align = $align:literal) {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type ),*
        }

        const _: () = {
            const fn is_pod<T: $crate::KernelPod>() {}
            $( is_pod::<$type>(); )*
            assert!(size_of::<$name>() == $size, "the size differs from the declared one");
            assert!(align_of::<$name>() == $align, "the alignment differs from the declared one");
            assert!(0 $( + size_of::<$type>() )* == $size, "there is implicit padding");
        };

        // SAFETY: `repr(C)`, every field is plain old data, and the sizes of the fields add up to the size
        // of the struct, so there is no padding.
        unsafe impl $crate::KernelPod for $name {}
    };
}
