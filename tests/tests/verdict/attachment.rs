//! Links to interfaces, each test in a network namespace of its own.

use std::{
    ffi::CString,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use gateway_common::verdict::Reason;
use gateway_userspace::dataplane::{
    self, AttachMode, Changes, Claim, Dataplane, DenyEntry, Error, Lost, Mode,
};
use tests::{
    kernel::{Kernel, net},
    packet::{ACK, Packet},
};

use crate::namespace::{in_namespace, ip, make_pair, program_of, send, wait_for};

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
fn a_mode_that_the_interface_does_not_take_leaves_the_old_one_in_force() {
    in_namespace(|| {
        ip("link set in0 mtu 9000");
        ip("link set out0 mtu 9000");
        let mut kernel = attached(AttachMode::Auto);
        kernel.close();
        assert!(program_of("in0").is_some());
        let mut options = kernel.options().clone();
        options.mode = AttachMode::Native;
        assert!(matches!(Dataplane::open(&options), Err(Error::Attach { mode: Mode::Native, .. })));
        assert!(program_of("in0").is_some(), "still generic");
        kernel.reopen();
        assert_eq!(kernel.attachments()[0].mode, Mode::Generic);
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
        assert_eq!(kernel.watch(), Changes::default());
        ip("link del in0");
        let gone = Lost { interface: "in0".into(), because: "the interface is gone".into() };
        assert_eq!(kernel.watch(), Changes { attached: vec![], lost: vec![gone.clone()] });
        assert_eq!((kernel.attachments(), kernel.lost()), (vec![], vec![gone]));
        assert_eq!(kernel.watch(), Changes::default(), "it is told once");
        make_pair();
        assert_eq!(program_of("in0"), None);
        let renewed = kernel.watch().attached;
        assert_eq!((renewed, vec![]), (kernel.attachments(), kernel.lost()));
        assert_eq!(kernel.attachments().len(), 1);
        assert!(program_of("in0").is_some());
        assert_eq!(kernel.watch(), Changes::default());
    });
}

#[test]
fn an_interface_that_gets_its_name_back_is_told_as_attached() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        let rename = |from: &str, to: &str| {
            ip(&format!("link set {from} down"));
            ip(&format!("link set {from} name {to}"));
            ip(&format!("link set {to} up"));
        };
        rename("in0", "else0");
        assert_eq!(kernel.watch().lost.len(), 1);
        rename("else0", "in0");
        let attached = kernel.watch().attached;
        assert_eq!((attached.len(), attached, kernel.lost()), (1, kernel.attachments(), vec![]));
        assert_eq!(kernel.watch(), Changes::default());
    });
}

#[test]
fn a_program_that_somebody_detached_is_attached_again_and_one_that_took_its_place_is_told() {
    in_namespace(|| {
        let mut kernel = attached(AttachMode::Auto);
        detach_from_outside(&kernel);
        assert_eq!(program_of("in0"), None);
        assert_eq!(kernel.watch(), Changes { attached: kernel.attachments(), lost: vec![] });
        assert!(program_of("in0").is_some());

        detach_from_outside(&kernel);
        let mut other = attached(AttachMode::Auto);
        let lost = kernel.watch().lost;
        assert!(lost[0].because.contains("another XDP program is attached to in0"), "{lost:?}");
        assert_eq!(kernel.attachments(), []);
        other.detach(false).unwrap();
        assert_eq!(kernel.watch().attached.len(), 1);
        assert_eq!(kernel.lost(), []);
    });
}

/// What `bpftool link detach` does: the link and its pin stay, and lead nowhere.
fn detach_from_outside(kernel: &Kernel) {
    let pin = kernel.options().pin_root.join("links/native/in0");
    let pin = CString::new(pin.as_os_str().as_encoded_bytes()).expect("a path");
    let address = pin.as_ptr() as u64;
    let link = bpf(OBJ_GET, [address as u32, (address >> 32) as u32]);
    // SAFETY: the command has returned a new descriptor, which nobody else owns.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    bpf(LINK_DETACH, [link.as_raw_fd() as u32, 0]);
}

/// `BPF_OBJ_GET`: its attributes begin with the address of a path.
const OBJ_GET: libc::c_long = 7;
/// `BPF_LINK_DETACH`: its attributes begin with a descriptor.
const LINK_DETACH: libc::c_long = 34;

fn bpf(command: libc::c_long, start: [u32; 2]) -> i32 {
    let mut attributes = [0_u32; 32];
    attributes[..2].copy_from_slice(&start);
    let bytes = size_of_val(&attributes);
    // SAFETY: the attributes are initialised, larger than the commands read, and outlive the call, as does
    // what they point to.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), bytes) };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    result as i32
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
