//! The attributes of `aya-ebpf` that the kernel program's modules use. They tell a loader where a map is; on the host
//! there is none.

use proc_macro::TokenStream;

/// Leaves the map as it is.
#[proc_macro_attribute]
pub fn btf_map(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
