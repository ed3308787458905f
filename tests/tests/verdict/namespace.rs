//! A veth pair in a network namespace of its own, for the tests that attach.

use std::{
    ffi::CString,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tests::kernel::Kernel;

/// Runs a test body in a fresh network namespace with a veth pair `in0`, `out0` that is up. The namespace
/// goes with the thread.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    // Asked first: without privilege the namespace fails before the program does.
    if Kernel::load().is_none() {
        return;
    }
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new().name(name).spawn(|| {
        // SAFETY: only this thread leaves the network namespace; it shares no descriptor that depends on it.
        let unshared = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
        unshared.expect("a network namespace");
        make_pair();
        test();
    });
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// Makes the pair `in0`, `out0` and sets both up.
pub fn make_pair() {
    ip("link add in0 type veth peer name out0");
    ip("link set in0 up");
    ip("link set out0 up");
}

/// Runs `ip`.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::inherit()).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}

/// Waits for the softirq that handles received frames: nothing tells when it has run.
#[track_caller]
pub fn wait_for(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "the frames have not come in");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a frame out of an interface, so that it comes in at the other end of the pair.
pub fn send(interface: &str, frame: &[u8]) {
    let name = CString::new(interface).expect("a name");
    // SAFETY: plain system calls on a socket that is owned from the moment it exists; the address and the
    // frame outlive the call.
    let sent = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(socket >= 0, "a packet socket");
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    assert_eq!(sent, frame.len() as isize);
}

/// Id of the XDP program on an interface, as `ip` shows it.
pub fn program_of(interface: &str) -> Option<u32> {
    let output = Command::new("ip").args(["-d", "link", "show", interface]).output().expect("ip runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, after) = text.split_once("prog/xdp id ")?;
    after.split(' ').next()?.parse().ok()
}
