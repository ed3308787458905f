//! Network interfaces by name, in the network namespace of the calling thread.

use std::ffi::{CStr, CString};

/// Index of an interface; `None` if there is none of that name.
pub fn index_of(interface: &str) -> Option<u32> {
    let name = CString::new(interface).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Names of all interfaces.
pub fn names() -> Vec<String> {
    // SAFETY: the call has no precondition; it returns null or an array to be freed below.
    let start = unsafe { libc::if_nameindex() };
    let mut names = Vec::new();
    if start.is_null() {
        return names;
    }
    let mut entry = start;
    // SAFETY: the array ends with an entry whose index is 0 and whose name is null; each name before it is a
    // C string that lives until the array is freed, and it is copied before that.
    unsafe {
        while (*entry).if_index != 0 && !(*entry).if_name.is_null() {
            names.push(CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned());
            entry = entry.add(1);
        }
        libc::if_freenameindex(start);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Error;

    #[test]
    fn an_interface_that_is_not_there_is_named_with_those_that_are() {
        assert!(index_of("no-such-interface").is_none());
        let known = names();
        assert!(known.iter().any(|name| name == "lo"), "{known:?}");
        let text = Error::NoInterface { name: "eth9".into(), known }.to_string();
        assert!(text.contains("eth9") && text.contains("lo"), "{text}");
    }

    #[test]
    fn a_name_with_a_null_byte_is_no_interface() {
        assert!(index_of("lo\0").is_none());
    }
}
