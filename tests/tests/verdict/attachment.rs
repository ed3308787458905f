//! Links to interfaces, each test in a network namespace of its own thread.

use std::{
    ffi::CString,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gateway_common::verdict::Reason;
use gateway_userspace::dataplane::{self, AttachMode, Claim, Dataplane, DenyEntry, Error, Mode};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
};

/// Runs a test body in a fresh network namespace with a veth pair `in0`, `out0` that is up. The namespace
/// goes with the thread.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
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

fn make_pair() {
    ip("link add in0 type veth peer name out0");
    ip("link set in0 up");
    ip("link set out0 up");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::inherit()).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}

fn attached(mode: AttachMode) -> Kernel {
    Kernel::load_with(|options| {
        options.interfaces = vec!["in0".into()];
        options.mode = mode;
    })
    .expect("asked before")
}

#[test]
fn native_is_tried_first_and_generic_where_the_driver_refuses() {
    in_namespace(|| {
        let kernel = attached(AttachMode::Auto);
        assert_eq!(kernel.attachments()[0].mode, Mode::Native);
        drop(kernel);
        // A frame of this size does not fit the page that a veth gives to XDP.
        ip("link set in0 mtu 9000");
        ip("link set out0 mtu 9000");
        let mut kernel = attached(AttachMode::Auto);
        assert_eq!(kernel.attachments()[0].mode, Mode::Generic);
        kernel.detach(false).unwrap();
        let mut options = kernel.options().clone();
        options.mode = AttachMode::Native;
        match Dataplane::open(&options) {
            Err(Error::Attach { mode: Mode::Native, interface, .. }) => assert_eq!(interface, "in0"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("native with an MTU of 9000"),
        }
    });
}

#[test]
fn a_missing_interface_is_named_with_those_that_are_there() {
    in_namespace(|| {
        let kernel = Kernel::load().expect("asked before");
        let mut options = kernel.options().clone();
        options.interfaces = vec!["in0".into(), "eth9".into()];
        let error = Dataplane::open(&options).err().expect("no eth9").to_string();
        assert!(error.contains("eth9") && error.contains("in0") && error.contains("out0"), "{error}");
        // All or nothing: in0, attached before the failure, is free again.
        options.interfaces = vec!["in0".into()];
        options.pin_root = options.pin_root.join("other");
        let mut other = Dataplane::open(&options).unwrap();
        other.detach(true).unwrap();
    });
}

#[test]
fn another_program_on_the_interface_is_a_clear_error() {
    in_namespace(|| {
        let _first = attached(AttachMode::Auto);
        let second = Kernel::load().expect("asked before");
        let mut options = second.options().clone();
        options.interfaces = vec!["in0".into()];
        match Dataplane::open(&options) {
            Err(error @ Error::Occupied { .. }) => {
                assert!(error.to_string().contains("ip link set in0 xdp off"), "{error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("two programs on one interface"),
        }
    });
}

#[test]
fn enforcement_outlives_the_process_and_the_next_one_takes_the_link_over() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        let before = kernel.attachments();
        let program = program_of("in0");
        kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
        kernel.close();
        assert_eq!(program_of("in0"), program, "attached without the process");
        send("out0", &Packet::from("192.0.2.1").tcp(443, ACK).build());
        send("out0", &Packet::from("192.0.2.2").tcp(443, ACK).build());
        kernel.reopen();
        wait_for(|| kernel.counters().unwrap().of(Reason::Clean).packets == 1);
        let counters = kernel.counters().unwrap();
        assert_eq!(counters.of(Reason::DeniedSource).packets, 1, "dropped while nobody was there");
        assert_eq!(kernel.attachments(), before);
        assert_ne!(program_of("in0"), program, "the program was replaced");
        assert!(program_of("in0").is_some());
    });
}

#[test]
fn real_frames_are_dropped_in_both_modes() {
    in_namespace(|| {
        for mode in [AttachMode::Native, AttachMode::Generic] {
            let mut kernel = attached(mode);
            kernel.deny(net("2001:db8::/64"), DenyEntry::forever(7)).unwrap();
            let frame = Packet::from("2001:db8::1").tcp(443, ACK).build();
            for _ in 0..10 {
                send("out0", &frame);
            }
            wait_for(|| kernel.ban_counters(7).unwrap().unwrap().packets >= 10);
            let counters = kernel.ban_counters(7).unwrap().unwrap();
            assert_eq!((counters.packets, counters.bytes), (10, 10 * frame.len() as u64), "{mode:?}");
            let event = kernel.drain_events(1)[0];
            assert_eq!(event.interface, kernel.attachments()[0].index);
        }
    });
}

#[test]
fn an_interface_that_is_made_anew_is_attached_again() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        assert_eq!(kernel.reattach().unwrap(), []);
        ip("link del in0");
        assert_eq!(kernel.reattach().unwrap(), [], "there is nothing to attach to");
        make_pair();
        assert_eq!(program_of("in0"), None);
        let renewed = kernel.reattach().unwrap();
        assert_eq!(renewed, kernel.attachments());
        assert!(program_of("in0").is_some());
        assert_eq!(kernel.reattach().unwrap(), []);
    });
}

#[test]
fn a_dot_in_the_name_of_a_vlan_interface_is_no_obstacle() {
    in_namespace(|| {
        ip("link add in0.100 type veth peer name out1");
        let kernel = Kernel::load_with(|options| options.interfaces = vec!["in0.100".into()]);
        assert_eq!(kernel.expect("asked before").attachments()[0].interface, "in0.100");
    });
}

#[test]
fn lists_can_be_filled_before_the_first_packet_is_judged() {
    in_namespace(|| {
        let kernel = Kernel::load().expect("asked before");
        let mut options = kernel.options().clone();
        options.interfaces = vec!["in0".into()];
        options.pin_root = options.pin_root.join("other");
        let mut dataplane = Dataplane::load(&options).unwrap();
        assert_eq!(program_of("in0"), None);
        dataplane.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
        dataplane.attach().unwrap();
        dataplane.attach().unwrap();
        assert_eq!(dataplane.attachments().len(), 1, "attaching twice is attaching once");
        assert!(program_of("in0").is_some());
        dataplane.detach(true).unwrap();
    });
}

#[test]
fn an_interface_that_is_no_longer_named_is_left_alone_from_the_next_start_on() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        kernel.close();
        assert!(program_of("in0").is_some());
        let mut options = kernel.options().clone();
        options.interfaces = vec!["out0".into()];
        let mut next = Dataplane::open(&options).unwrap();
        assert_eq!((program_of("in0"), program_of("out0").is_some()), (None, true));
        assert_eq!(dataplane::attached_by(&options.pin_root), ["out0"]);
        next.detach(false).unwrap();
        assert!(dataplane::attached_by(&options.pin_root).is_empty());
        kernel.reopen();
    });
}

#[test]
fn a_pin_directory_belongs_to_one_gateway_at_a_time() {
    in_namespace(|| {
        let kernel = attached(AttachMode::Auto);
        let root = &kernel.options().pin_root;
        let claim = Claim::take(root).unwrap();
        match Claim::take(root) {
            Err(error @ Error::InUse { .. }) => assert!(error.to_string().contains("shield.pins"), "{error}"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("two gateways in one directory"),
        }
        drop(claim);
        Claim::take(root).unwrap();
    });
}

#[test]
fn detaching_frees_the_interface_and_keeps_the_entries() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        kernel.deny(net("192.0.2.1"), DenyEntry::forever(1)).unwrap();
        kernel.detach(false).unwrap();
        assert_eq!(program_of("in0"), None);
        assert_eq!(kernel.attachments(), []);
        kernel.reopen();
        assert_eq!(kernel.entries().len(), 1);
        assert!(program_of("in0").is_some());
    });
}

/// Waits for the softirq that handles received frames: nothing tells when it has run.
fn wait_for(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "the frames have not come in");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a frame out of an interface, so that it comes in at the other end of the pair.
fn send(interface: &str, frame: &[u8]) {
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
fn program_of(interface: &str) -> Option<u32> {
    let output = Command::new("ip").args(["-d", "link", "show", interface]).output().expect("ip runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, after) = text.split_once("prog/xdp id ")?;
    after.split(' ').next()?.parse().ok()
}
