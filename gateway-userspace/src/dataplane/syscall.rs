//! The parts of bpf(2) that `aya` does not offer: links whose errors are not papered over, their info, other
//! people's programs by their ids, and batches.
//!
//! `aya` falls back to netlink when the kernel rejects a link, and such an attachment cannot be pinned; and
//! its link info leaves out the interface.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use gateway_common::{KernelPod, maps::Kind};

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const MAP_UPDATE_BATCH: libc::c_long = 26;
const MAP_DELETE_BATCH: libc::c_long = 27;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// `BPF_MAP_TYPE_ARRAY` of `enum bpf_map_type`.
const MAP_TYPE_ARRAY: u32 = 2;
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
        self.call_again(command)
    }

    /// The same for a command that writes into the attributes.
    fn call_again(&mut self, command: libc::c_long) -> io::Result<libc::c_long> {
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

/// Makes a map that nothing uses, to see whether the kernel can.
pub fn map_create(kind: Kind, key_bytes: u32, value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    Attributes::new()
        .with(0, kind as u32)
        .with(4, key_bytes)
        .with(8, value_bytes)
        .with(12, entries)
        .call_for_fd(MAP_CREATE)
}

/// Whether there are links (since Linux 5.7): the command is known, but nothing to link is given.
pub fn has_links() -> io::Result<bool> {
    let asked = Attributes::new().with(0, u32::MAX).with(8, ATTACH_TYPE_XDP).call_for_fd(LINK_CREATE);
    match asked.map_err(|error| error.raw_os_error()) {
        Err(Some(libc::EBADF)) => Ok(true),
        Err(Some(libc::EPERM)) => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(false),
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
    object_info(link, &mut info)?;
    Ok(LinkInfo { program_id: info[2], interface: info[4] })
}

fn object_info(object: BorrowedFd<'_>, info: &mut [u32; 64]) -> io::Result<()> {
    Attributes::new()
        .with(0, object.as_raw_fd() as u32)
        .with(4, mem::size_of_val(info) as u32)
        .with_pointer(8, info.as_mut_ptr())
        .call(OBJ_GET_INFO_BY_FD)
        .map(drop)
}

/// What the kernel knows about a program (`struct bpf_prog_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: Vec<u8>,
    /// The id of its map, if it has one and no more.
    pub only_map: Option<u32>,
}

/// Asks about a program.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut map = 0_u32;
    // nr_map_ids at 52: room for one; map_ids at 56; the name at 64.
    let mut info = [0_u32; 64];
    let address = &raw mut map as u64;
    (info[13], info[14], info[15]) = (1, address as u32, (address >> 32) as u32);
    object_info(program, &mut info)?;
    let name = info[16..20].iter().flat_map(|word| word.to_ne_bytes());
    let name = name.take_while(|byte| *byte != 0).collect();
    Ok(ProgramInfo { id: info[1], name, only_map: (info[13] == 1).then_some(map) })
}

/// Opens a program by its id. Takes CAP_SYS_ADMIN.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    Attributes::new().with(0, id).call_for_fd(PROG_GET_FD_BY_ID)
}

/// Reads the one value of an array (`BPF_MAP_TYPE_ARRAY`) of one slot, by the map's id. `None` for a map of any other
/// kind, and if the value has none of these sizes. Takes CAP_SYS_ADMIN.
pub fn only_value_of_array(id: u32, sizes: &[usize]) -> io::Result<Option<Vec<u8>>> {
    let map = Attributes::new().with(0, id).call_for_fd(MAP_GET_FD_BY_ID)?;
    // type, id, key_size, value_size, max_entries.
    let mut info = [0_u32; 64];
    object_info(map.as_fd(), &mut info)?;
    let size = info[3] as usize;
    // Of an array per processor the kernel would write as many values as there are processors.
    if (info[0], info[2], info[4]) != (MAP_TYPE_ARRAY, 4, 1) || !sizes.contains(&size) {
        return Ok(None);
    }
    let (key, mut value) = (0_u32, vec![0; size.next_multiple_of(8)]);
    Attributes::new()
        .with(0, map.as_raw_fd() as u32)
        .with_pointer(8, &raw const key)
        .with_pointer(16, value.as_mut_ptr())
        .call(MAP_LOOKUP_ELEM)?;
    value.truncate(size);
    Ok(Some(value))
}

/// Reads a value; of an array per processor the values of all of them, for which there must be room: the kernel
/// writes as many as the machine can have processors.
pub fn look_up<K: KernelPod, V: KernelPod>(map: BorrowedFd<'_>, key: &K, values: &mut [V]) -> io::Result<()> {
    Attributes::new()
        .with(0, map.as_raw_fd() as u32)
        .with_pointer(8, key)
        .with_pointer(16, values.as_mut_ptr())
        .call(MAP_LOOKUP_ELEM)
        .map(drop)
}

/// Writes a value; of an array per processor the values of all of them.
pub fn update<K: KernelPod, V: KernelPod>(map: BorrowedFd<'_>, key: &K, values: &[V]) -> io::Result<()> {
    Attributes::new()
        .with(0, map.as_raw_fd() as u32)
        .with_pointer(8, key)
        .with_pointer(16, values.as_ptr())
        .call(MAP_UPDATE_ELEM)
        .map(drop)
}

/// The key after this one, the first one without; `None` after the last.
pub fn next_key<K: KernelPod>(map: BorrowedFd<'_>, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next = std::mem::MaybeUninit::<K>::uninit();
    let attributes = Attributes::new()
        .with(0, map.as_raw_fd() as u32)
        .with_pointer(8, key.map_or(std::ptr::null(), std::ptr::from_ref))
        .with_pointer(16, next.as_mut_ptr());
    match attributes.call(MAP_GET_NEXT_KEY) {
        // SAFETY: the kernel has written a whole key, and any bit pattern is one.
        Ok(_) => Ok(Some(unsafe { next.assume_init() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What [`lookup_batch`] has read.
#[derive(Clone, Copy, Debug)]
pub struct Batch<C> {
    /// Entries, at the beginning of the slices.
    pub count: usize,
    /// Where to go on; none: they were the last.
    pub next: Option<C>,
}

/// Reads many entries in one call, going on at `cursor`, which a call before has returned: a bucket's number or a key,
/// so that four bytes are the least. `ENOSPC` if there is no room for the entries of one bucket.
pub fn lookup_batch<const K: usize, V: KernelPod>(
    map: BorrowedFd<'_>,
    cursor: Option<&[u8; K]>,
    keys: &mut [[u8; K]],
    values: &mut [V],
) -> io::Result<Batch<[u8; K]>> {
    const { assert!(K >= 4, "the number of a bucket has four bytes") };
    assert_eq!(keys.len(), values.len(), "room for a value with each key");
    let room = u32::try_from(keys.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut next = [0_u8; K];
    let mut attributes = Attributes::new()
        .with_pointer(0, cursor.map_or(std::ptr::null(), std::ptr::from_ref))
        .with_pointer(8, next.as_mut_ptr())
        .with_pointer(16, keys.as_mut_ptr())
        .with_pointer(24, values.as_mut_ptr())
        .with(32, room)
        .with(36, map.as_raw_fd() as u32);
    let result = attributes.call_again(MAP_LOOKUP_BATCH);
    let count = attributes.0[32 / 4].min(room) as usize;
    match result {
        Ok(_) => Ok(Batch { count, next: Some(next) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Batch { count, next: None }),
        Err(error) => Err(error),
    }
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

/// Removes many entries of a hash map, in one call but for those that are not there (since Linux 5.6). On an error
/// some may have been removed.
pub fn delete_batch<K: KernelPod>(map: BorrowedFd<'_>, mut keys: &[K]) -> io::Result<()> {
    while !keys.is_empty() {
        let count = u32::try_from(keys.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut attributes = Attributes::new()
            .with_pointer(16, keys.as_ptr())
            .with(32, count)
            .with(36, map.as_raw_fd() as u32);
        match attributes.call_again(MAP_DELETE_BATCH) {
            Ok(_) => return Ok(()),
            // It stops at the first key that is not there, and tells how many it has removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let removed = attributes.0[32 / 4].min(count) as usize;
                keys = keys.get(removed + 1..).unwrap_or_default();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
