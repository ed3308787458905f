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
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "the frames have not come in");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a frame out of an interface, so that it comes in at the other end of the pair.
pub fn send(interface: &str, frame: &[u8]) {
    Sender::on(interface).send(frame);
}

/// Sends many frames: to close a packet socket takes the kernel milliseconds.
pub struct Sender {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Sender {
    /// Out of this interface.
    pub fn on(interface: &str) -> Self {
        Self { socket: packet_socket(0), address: address_of(interface, 0) }
    }

    /// Sends one frame, as soon as the queue of the interface has room for it.
    pub fn send(&self, frame: &[u8]) {
        while !self.try_send(frame) {
            thread::yield_now();
        }
    }

    /// Sends one frame, unless a queue is full.
    fn try_send(&self, frame: &[u8]) -> bool {
        // SAFETY: the address and the frame outlive the call and are as long as it is told.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                size_of_val(&self.address) as u32,
            )
        };
        let error = std::io::Error::last_os_error();
        assert!(
            sent == frame.len() as isize || error.raw_os_error() == Some(libc::ENOBUFS),
            "{sent} bytes were sent: {error}"
        );
        sent > 0
    }
}

/// Receives the frames that come in on an interface and that no XDP program has dropped.
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens from now on.
    pub fn on(interface: &str) -> Self {
        let every_protocol = (libc::ETH_P_ALL as u16).to_be();
        let socket = packet_socket(every_protocol);
        let address = address_of(interface, every_protocol);
        let patience = libc::timeval { tv_sec: 5, tv_usec: 0 };
        // SAFETY: both calls read a struct that outlives them, of the size that they are told.
        let failed = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32) != 0
                || libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_RCVTIMEO,
                    (&raw const patience).cast(),
                    size_of_val(&patience) as u32,
                ) != 0
        };
        assert!(!failed, "a listening packet socket");
        Self(socket)
    }

    /// The IPv4 sources of the frames up to the first from `last`.
    pub fn sources_until(&mut self, last: &str) -> Vec<String> {
        let mut sources = Vec::new();
        while sources.last().is_none_or(|source| source != last) {
            let mut frame = [0_u8; 2048];
            // SAFETY: the buffer is as long as the call is told.
            let received =
                unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
            assert!(received >= 0, "the last frame has not come in; before it: {sources:?}");
            if received >= 34 && frame[12..14] == [8, 0] {
                sources
                    .push(std::net::Ipv4Addr::from([frame[26], frame[27], frame[28], frame[29]]).to_string());
            }
        }
        sources
    }
}

fn packet_socket(protocol: u16) -> OwnedFd {
    // SAFETY: a plain system call; the descriptor is owned from the moment it exists.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol));
        assert!(socket >= 0, "a packet socket");
        OwnedFd::from_raw_fd(socket)
    }
}

/// Index of an interface in the namespace of this thread; 0 if there is none.
pub fn index_of(interface: &str) -> u32 {
    let name = CString::new(interface).expect("a name");
    // SAFETY: the name outlives the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

fn address_of(interface: &str, protocol: u16) -> libc::sockaddr_ll {
    let index = index_of(interface);
    // SAFETY: the address is plain data, for which zero is valid.
    unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index as i32;
        address
    }
}

/// Id of the XDP program on an interface, as `ip` shows it.
pub fn program_of(interface: &str) -> Option<u32> {
    let output = Command::new("ip").args(["-d", "link", "show", interface]).output().expect("ip runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, after) = text.split_once("prog/xdp id ")?;
    after.split(' ').next()?.parse().ok()
}
