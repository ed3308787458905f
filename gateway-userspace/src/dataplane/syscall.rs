//! The parts of bpf(2) that `aya` does not offer: links whose errors are not papered over, their info, and
//! batches.
//!
//! `aya` falls back to netlink when the kernel rejects a link, and such an attachment cannot be pinned; and
//! its link info leaves out the interface.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use gateway_common::KernelPod;

const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_UPDATE_BATCH: libc::c_long = 26;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_TYPE_XDP: u32 = 37;
/// `XDP_FLAGS_SKB_MODE`: generic.
pub const FLAG_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`: native.
pub const FLAG_NATIVE: u32 = 1 << 2;

/// `union bpf_attr`, as far as it is used here. Zero is what every unused field wants.
#[repr(C, align(8))]
struct Attributes([u32; 32]);

impl Attributes {
    fn new() -> Self {
        Self([0; 32])
    }

    /// Sets the number at a byte offset.
    fn with(mut self, offset: usize, value: u32) -> Self {
        self.0[offset / 4] = value;
        self
    }

    /// Sets the pointer at a byte offset.
    fn with_pointer<T>(self, offset: usize, pointer: *const T) -> Self {
        let address = pointer as u64;
        self.with(offset, address as u32).with(offset + 4, (address >> 32) as u32)
    }

    fn call(mut self, command: libc::c_long) -> io::Result<libc::c_long> {
        // SAFETY: the attributes are initialised, larger than any command reads, and outlive the call. What
        // they point to is kept alive by the callers, and is as large as they say.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, &raw mut self.0, mem::size_of::<Self>() as libc::c_uint)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    fn call_for_fd(self, command: libc::c_long) -> io::Result<OwnedFd> {
        let descriptor = self.call(command)?;
        // SAFETY: the command returned a new descriptor, which nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
    }
}

/// What the kernel knows about an XDP link (`struct bpf_link_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The program that runs.
    pub program_id: u32,
    /// The interface; 0 once it is gone.
    pub interface: u32,
}

/// Attaches a program to an interface with a link (since Linux 5.9).
pub fn link_create(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    Attributes::new()
        .with(0, program.as_raw_fd() as u32)
        .with(4, interface)
        .with(8, ATTACH_TYPE_XDP)
        .with(12, flags)
        .call_for_fd(LINK_CREATE)
}

/// Replaces the program of a link: no packet sees neither or both.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    Attributes::new()
        .with(0, link.as_raw_fd() as u32)
        .with(4, program.as_raw_fd() as u32)
        .call(LINK_UPDATE)
        .map(drop)
}

/// Detaches a link, whoever else holds it.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    Attributes::new().with(0, link.as_raw_fd() as u32).call(LINK_DETACH).map(drop)
}

/// Asks for the program and the interface of a link.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // type, id, prog_id, (padding to 8), then the union with ifindex.
    let mut info = [0_u32; 64];
    Attributes::new()
        .with(0, link.as_raw_fd() as u32)
        .with(4, mem::size_of_val(&info) as u32)
        .with_pointer(8, info.as_mut_ptr())
        .call(OBJ_GET_INFO_BY_FD)?;
    Ok(LinkInfo { program_id: info[2], interface: info[4] })
}

/// Writes many entries of a hash map in one call (since Linux 5.6). On an error some may have been written.
pub fn update_batch<K: KernelPod, V: KernelPod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    let count = u32::try_from(keys.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if count == 0 {
        return Ok(());
    }
    Attributes::new()
        .with_pointer(16, keys.as_ptr())
        .with_pointer(24, values.as_ptr())
        .with(32, count)
        .with(36, map.as_raw_fd() as u32)
        .call(MAP_UPDATE_BATCH)
        .map(drop)
}

/// Pins an object at a path.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    Attributes::new()
        .with_pointer(0, path.as_ptr())
        .with(8, object.as_raw_fd() as u32)
        .call(OBJ_PIN)
        .map(drop)
}

/// Opens a pinned object.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    Attributes::new().with_pointer(0, path.as_ptr()).call_for_fd(OBJ_GET)
}
