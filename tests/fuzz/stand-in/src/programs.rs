//! The context of a program.

use crate::bindings::xdp_md;

/// A frame as an XDP program sees it.
#[derive(Debug, Clone, Copy)]
pub struct XdpContext {
    pub ctx: *mut xdp_md,
}

impl XdpContext {
    /// `ctx` must point to a live [`xdp_md`] as long as this is used.
    pub const fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    /// Address of the first byte.
    pub fn data(&self) -> usize {
        self.read().data
    }

    /// Address behind the last byte.
    pub fn data_end(&self) -> usize {
        self.read().data_end
    }

    /// Number of the interface.
    pub fn ingress_ifindex(&self) -> usize {
        self.read().ingress_ifindex as usize
    }

    fn read(&self) -> xdp_md {
        // SAFETY: whoever made the context vouches for the pointer.
        unsafe { *self.ctx }
    }
}
