//! Sharing an interface with programs that libxdp has put there: the real `xdp-filter` and `xdp-loader`.
//!
//! Some kernels refuse programs that extend others (`BPF_PROG_TYPE_EXT`) altogether; there `xdp-filter` loads
//! without a dispatcher, and these tests are skipped.

use std::{
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use gateway_common::verdict::Reason;
use gateway_userspace::dataplane::{self, Changes, Dataplane, DenyEntry, Error};
use tests::{
    kernel::{Kernel, chain, net},
    packet::{ACK, Packet},
    privilege::skip_on_kernel,
};

use crate::namespace::{Listener, in_namespace, ip, program_of, send};

/// Listed by us, dropped by `xdp-filter`, and neither.
const OURS: &str = "192.0.2.1";
const THEIRS: &str = "192.0.2.2";
const NOBODYS: &str = "192.0.2.3";

fn tool(line: &str) -> Output {
    let (program, arguments) = line.split_once(' ').expect("a program and its arguments");
    Command::new(program).args(arguments.split(' ')).output().expect("xdp-tools are installed")
}

fn run(line: &str) -> String {
    let output = tool(line);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}: {said}");
    said
}

/// `xdp-filter` keeps its state by the name of the interface, whatever the namespace: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn forget_xdp_filter() {
    let _ = std::fs::remove_dir_all("/sys/fs/bpf/xdp-filter");
}

/// Runs a test with `xdp-filter` in a dispatcher on `in0`, dropping [`THEIRS`].
fn beside_xdp_filter(test: impl FnOnce() + Send + 'static) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    in_namespace(|| {
        forget_xdp_filter();
        run("xdp-filter load in0");
        run(&format!("xdp-filter ip {THEIRS} -m src"));
        if !run("xdp-loader status in0").contains("xdp_dispatcher") {
            run("xdp-filter unload in0");
            let name = std::thread::current().name().unwrap_or("test").to_owned();
            skip_on_kernel(&name, "this kernel refuses programs that extend others (BPF_PROG_TYPE_EXT)");
            forget_xdp_filter();
            return;
        }
        test();
        let _ = tool("xdp-loader unload in0 --all");
        forget_xdp_filter();
    });
}

fn sharing() -> Kernel {
    let mut kernel =
        Kernel::load_with(|options| options.interfaces = vec!["in0".into()]).expect("asked before");
    kernel.deny(net(OURS), DenyEntry::forever(7)).unwrap();
    kernel
}

/// Which of the three come in on `in0`.
fn passing() -> Vec<&'static str> {
    let mut listener = Listener::on("in0");
    for source in [OURS, THEIRS, NOBODYS] {
        for _ in 0..3 {
            send("out0", &Packet::from(source).tcp(443, ACK).build());
        }
    }
    // The last of all marks the end: nobody drops it.
    send("out0", &Packet::from("192.0.2.9").tcp(443, ACK).build());
    let seen = listener.sources_until("192.0.2.9");
    [OURS, THEIRS, NOBODYS].into_iter().filter(|source| seen.iter().any(|seen| seen == source)).collect()
}

#[test]
fn both_take_effect_and_either_leaves_the_other_in_force() {
    beside_xdp_filter(|| {
        assert_eq!(passing(), [OURS, NOBODYS]);
        let mut kernel = sharing();
        let attached = kernel.attachments();
        assert!(attached[0].shared.is_some(), "{attached:?}");
        assert_eq!(passing(), [NOBODYS]);
        let status = run("xdp-loader status in0");
        assert!(status.contains("portcullis") && status.contains("xdpfilt_alw_all"), "{status}");
        assert!(kernel.ban_counters(7).unwrap().unwrap().packets >= 3);
        assert!(kernel.drain_diagnostics().iter().any(|line| line.contains("ban 7 drops its first packet")));

        run("xdp-filter unload in0");
        assert_eq!(passing(), [THEIRS, NOBODYS], "theirs is gone, ours stays");
        assert_eq!(kernel.watch(), Changes::default(), "in a dispatcher that is not the one we made");

        run("xdp-filter load in0");
        run(&format!("xdp-filter ip {THEIRS} -m src"));
        assert_eq!(passing(), [NOBODYS], "theirs has come back beside ours");
        assert_eq!(kernel.watch(), Changes::default());

        kernel.detach(false).unwrap();
        assert_eq!(passing(), [OURS, NOBODYS], "ours is gone, theirs stays");
        assert!(!run("xdp-loader status in0").contains("portcullis"));
    });
}

#[test]
fn a_place_outlives_the_process_and_the_next_one_takes_over_its_own() {
    beside_xdp_filter(|| {
        let mut kernel = sharing();
        let before = kernel.attachments()[0].shared;
        // As `kill -9` leaves it.
        kernel.close();
        assert_eq!(passing(), [NOBODYS]);
        assert_eq!(dataplane::shared_by(&kernel.options().pin_root), [("in0".to_owned(), before)]);
        kernel.reopen();
        assert_eq!(passing(), [NOBODYS]);
        let after = kernel.attachments()[0].shared;
        assert!(after.is_some() && after != before, "the program was replaced");
        assert_eq!(run("xdp-loader status in0").matches("portcullis").count(), 1);
        kernel.reopen_with(|options| options.deny_capacity = 8192).unwrap();
        assert_eq!(passing(), [NOBODYS], "with other maps");
        assert_eq!(run("xdp-loader status in0").matches("portcullis").count(), 1);
        kernel.expect("the entry has moved", &Packet::from(OURS).tcp(443, ACK).build(), Reason::DeniedSource);
    });
}

#[test]
fn the_last_one_takes_the_dispatcher_with_it_and_an_interface_off_the_list_is_left() {
    beside_xdp_filter(|| {
        let mut kernel = sharing();
        run("xdp-filter unload in0");
        kernel.close();
        let mut options = kernel.options().clone();
        options.interfaces = vec!["out0".into()];
        let mut next = Dataplane::open(&options).unwrap();
        assert_eq!(program_of("in0"), None);
        next.detach(false).unwrap();
        kernel.reopen();
        assert_eq!(kernel.attachments()[0].shared, None, "alone it has the link to itself");
    });
}

#[test]
fn a_dispatcher_that_is_taken_off_is_noticed_and_replaced_by_a_link() {
    beside_xdp_filter(|| {
        let mut kernel = sharing();
        run("xdp-loader unload in0 --all");
        assert_eq!(program_of("in0"), None);
        let changes = kernel.watch();
        assert_eq!((changes.attached.len(), changes.lost.len()), (1, 0), "{changes:?}");
        assert_eq!(kernel.attachments()[0].shared, None);
        assert_eq!(passing(), [THEIRS, NOBODYS]);
        assert_eq!(kernel.watch(), Changes::default());
    });
}

#[test]
fn a_program_without_a_dispatcher_is_still_a_clear_error() {
    in_namespace(|| {
        ip("link set in0 xdp object /usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_ip.o section xdp");
        let kernel = Kernel::load().expect("asked before");
        let mut options = kernel.options().clone();
        options.interfaces = vec!["in0".into()];
        match Dataplane::open(&options) {
            Err(error @ Error::Occupied { .. }) => assert!(error.to_string().contains("xdp off"), "{error}"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("two programs on one interface"),
        }
    });
}

#[test]
fn a_dispatcher_without_a_free_place_is_an_error_that_names_the_way_out() {
    beside_xdp_filter(|| {
        // Nine more fill the dispatcher.
        for _ in 0..9 {
            run("xdp-loader load in0 /usr/lib/x86_64-linux-gnu/bpf/xdpfilt_dny_eth.o");
        }
        let kernel = Kernel::load().expect("asked before");
        let mut options = kernel.options().clone();
        options.interfaces = vec!["in0".into()];
        match Dataplane::open(&options) {
            Err(error @ Error::CannotShare { .. }) => {
                let text = chain(&error);
                assert!(
                    text.contains("all 10 places") && text.contains("xdp-loader unload in0 --all"),
                    "{text}"
                );
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("eleven programs in a dispatcher"),
        }
    });
}
