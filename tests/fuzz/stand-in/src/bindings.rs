//! Types of the kernel, with the fields that the program reads.

/// What an XDP program returns.
pub mod xdp_action {
    /// Dropped.
    pub const XDP_DROP: u32 = 1;
    /// To the stack.
    pub const XDP_PASS: u32 = 2;
}

/// A frame. In the kernel the addresses have 32 bits, and the verifier makes pointers of them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct xdp_md {
    pub data: usize,
    pub data_end: usize,
    pub ingress_ifindex: u32,
}

/// A socket.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bpf_sock {
    pub state: u32,
}

/// What a connection is looked up by.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct bpf_sock_tuple {
    pub __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union bpf_sock_tuple__bindgen_ty_1 {
    pub ipv4: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
    pub ipv6: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
    pub saddr: u32,
    pub daddr: u32,
    pub sport: u16,
    pub dport: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
    pub saddr: [u32; 4],
    pub daddr: [u32; 4],
    pub sport: u16,
    pub dport: u16,
}
