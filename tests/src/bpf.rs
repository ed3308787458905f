//! Maps and programs made with bare bpf(2): those of an older gateway, and those of somebody else.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use gateway_common::{KernelPod, maps::Spec};

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_PROG_TYPE_XDP`
const TYPE_XDP: u32 = 6;
/// `BPF_XDP` of `enum bpf_attach_type`
const ATTACH_XDP: u32 = 37;
/// `XDP_FLAGS_DRV_MODE`
const FLAG_NATIVE: u32 = 1 << 2;

/// A map or a link.
pub struct Object(OwnedFd);

impl Object {
    /// Makes a map.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(spec: &Spec) -> io::Result<Self> {
        let mut attributes = [0_u32; 32];
        attributes[..5].copy_from_slice(&[
            spec.kind as u32,
            spec.key_bytes,
            spec.value_bytes,
            spec.max_entries,
            spec.flags,
        ]);
        call(MAP_CREATE, &mut attributes).map(owned)
    }

    /// Opens what is pinned.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pinned(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = [0_u32; 32];
        pointer(&mut attributes, 0, path.as_ptr());
        call(OBJ_GET, &mut attributes).map(owned)
    }

    /// Attaches to an interface, in the driver, a program that drops every frame and counts nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dropping_all_on(interface: u32) -> io::Result<Self> {
        // mov r0, XDP_DROP; exit
        let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
        let license = c"GPL";
        let mut attributes = [0_u32; 32];
        (attributes[0], attributes[1]) = (TYPE_XDP, instructions.len() as u32);
        // expected_attach_type: a link takes only a program with the same in the place of this one.
        attributes[17] = ATTACH_XDP;
        pointer(&mut attributes, 8, instructions.as_ptr());
        pointer(&mut attributes, 16, license.as_ptr());
        let program = owned(call(PROG_LOAD, &mut attributes)?);
        let mut attributes = [0_u32; 32];
        attributes[..4].copy_from_slice(&[program.0.as_raw_fd() as u32, interface, ATTACH_XDP, FLAG_NATIVE]);
        call(LINK_CREATE, &mut attributes).map(owned)
    }

    /// Pins it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = [0_u32; 32];
        pointer(&mut attributes, 0, path.as_ptr());
        attributes[2] = self.0.as_raw_fd() as u32;
        call(OBJ_PIN, &mut attributes).map(drop)
    }

    /// Writes an entry of a map; of one with a value for each processor, as many as there can be.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write<V: KernelPod>(&self, key: &[u8], values: &[V]) -> io::Result<()> {
        let mut attributes = self.of_key(key);
        pointer(&mut attributes, 16, values.as_ptr());
        call(MAP_UPDATE_ELEM, &mut attributes).map(drop)
    }

    /// Reads an entry of a map with one value for all processors.
    ///
    /// # Errors
    /// The kernel's: `ENOENT` if there is none.
    pub fn read<V: KernelPod + Default>(&self, key: &[u8]) -> io::Result<V> {
        let mut value = V::default();
        let mut attributes = self.of_key(key);
        pointer(&mut attributes, 16, &raw mut value);
        call(MAP_LOOKUP_ELEM, &mut attributes).map(|_| value)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// The kernel's: `ENOENT` if there is none.
    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        call(MAP_DELETE_ELEM, &mut self.of_key(key)).map(drop)
    }

    fn of_key(&self, key: &[u8]) -> [u32; 32] {
        let mut attributes = [0_u32; 32];
        attributes[0] = self.0.as_raw_fd() as u32;
        pointer(&mut attributes, 8, key.as_ptr());
        attributes
    }
}

/// Key of a trie: the length, then the address, padded to `bytes`.
pub fn trie_key(bits: u32, address: &[u8], bytes: usize) -> Vec<u8> {
    let mut key = [&bits.to_ne_bytes(), address].concat();
    key.resize(bytes, 0);
    key
}

/// How many processors the machine can have: a map with a value for each has as many.
///
/// # Panics
/// If the kernel does not tell.
pub fn processors() -> usize {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("the kernel tells");
    let last = possible.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    last.expect("a range of numbers") + 1
}

fn pointer<T>(attributes: &mut [u32; 32], offset: usize, pointer: *const T) {
    let address = pointer as u64;
    (attributes[offset / 4], attributes[offset / 4 + 1]) = (address as u32, (address >> 32) as u32);
}

fn owned(descriptor: libc::c_long) -> Object {
    // SAFETY: a descriptor that the kernel has just returned, which nobody else owns.
    Object(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn call(command: libc::c_long, attributes: &mut [u32; 32]) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are longer than any command reads, and what they point to outlives the call and is as
    // large as the caller knows the kernel to take it for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes) as libc::c_uint,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
