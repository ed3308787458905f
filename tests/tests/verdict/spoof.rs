//! A forger who sends from the address of a client: what the client keeps.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use gateway_common::verdict::Reason::{Clean, Established, OverPackets, OverSyns, Repeated};
use gateway_userspace::dataplane::Budgets;
use tests::{
    kernel::Kernel,
    packet::{ACK, Packet, SYN},
};

use crate::namespace::{in_namespace, ip};

const PACKETS: Budgets =
    Budgets { packets_per_second: 1, packet_burst: 20, syns_per_second: 0, syn_burst: 0 };
const SYNS: Budgets = Budgets { packets_per_second: 0, packet_burst: 0, syns_per_second: 1, syn_burst: 2 };

fn load(budgets: Budgets) -> Option<Kernel> {
    Kernel::load_with(|options| options.budgets = budgets)
}

/// A segment of a connection, as the client sends it.
fn segment(client: SocketAddr, server: SocketAddr, flags: u8) -> Vec<u8> {
    let packet = Packet::from(&client.ip().to_string()).tcp(server.port(), flags);
    packet.source_port(client.port()).to(server.ip()).build()
}

/// Passes although over budget: counted beside, and as clean.
#[track_caller]
fn passes_as_established(kernel: &Kernel, description: &str, frame: &[u8]) {
    let counters = kernel.send(frame).1;
    let counted = (counters.of(Established).packets, counters.of(Clean).packets);
    assert_eq!(counted, (1, 1), "{description}");
}

#[test]
fn a_connection_goes_on_when_somebody_else_has_spent_the_budget_of_its_address() {
    in_namespace(|| {
        ip("link set lo up");
        ip("addr add 2001:db8::1/64 dev lo nodad");
        ip("addr add 192.0.2.1/24 dev lo");
        for address in ["192.0.2.1", "2001:db8::1"] {
            a_connection_goes_on_at(address.parse().unwrap());
        }
    });
}

fn a_connection_goes_on_at(address: IpAddr) {
    let kernel = load(PACKETS).expect("asked before");
    let listener = TcpListener::bind((address, 0)).unwrap();
    let server = listener.local_addr().unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    let client = stream.local_addr().unwrap();
    let (accepted, _) = listener.accept().unwrap();
    // The forger does not know the port.
    let forged = segment(SocketAddr::new(client.ip(), 1), server, ACK);
    kernel.test_run(&forged, 30).unwrap();
    kernel.expect("forged", &forged, OverPackets);
    kernel.expect(
        "forged, to the listener",
        &segment(SocketAddr::new(client.ip(), 2), server, ACK),
        OverPackets,
    );
    passes_as_established(&kernel, "the connection", &segment(client, server, ACK));
    let other_way = segment(server, client, ACK);
    passes_as_established(&kernel, "its other end, which is here too", &other_way);
    // A connection has a budget, too, as large as that of an address.
    kernel.test_run(&segment(client, server, ACK), 30).unwrap();
    kernel.expect("the connection alone", &segment(client, server, ACK), OverPackets);
    stream.write_all(b"x").unwrap();
    drop((stream, accepted));
    let udp = Packet::from(&client.ip().to_string()).udp(server.port());
    let udp = udp.source_port(client.port()).to(server.ip()).build();
    kernel.expect("UDP with the same ports", &udp, OverPackets);
}

#[test]
fn a_syn_that_is_sent_again_after_a_second_passes_and_a_new_one_does_not() {
    let Some(mut kernel) = load(SYNS) else { return };
    for (source, budgets, over) in [
        ("192.0.2.1", SYNS, OverSyns),
        ("2001:db8::1", SYNS, OverSyns),
        ("192.0.2.2", Budgets { packet_burst: 2, ..PACKETS }, OverPackets),
    ] {
        kernel.set_budgets(&budgets).unwrap();
        let syn = |number| Packet::from(source).tcp(443, SYN).sequence(number).build();
        // Forged ones; each is another one. Nothing refills that they do not take.
        let mut number = 1000;
        let mut forge = |kernel: &Kernel| {
            for _ in 0..10 {
                number += 1;
                kernel.test_run(&syn(number), 1).unwrap();
            }
        };
        forge(&kernel);
        kernel.expect("the client's first", &syn(1), over);
        kernel.expect("the same at once", &syn(1), over);
        let start = Instant::now();
        let passed = loop {
            std::thread::sleep(Duration::from_millis(250));
            forge(&kernel);
            let counters = kernel.send(&syn(1)).1;
            if counters.of(Repeated).packets == 1 {
                assert_eq!(counters.of(Clean).packets, 1);
                break true;
            }
            if start.elapsed() > Duration::from_secs(20) {
                break false;
            }
        };
        assert!(passed, "{source}");
        forge(&kernel);
        kernel.expect("one that was never sent", &syn(2), over);
    }
}

#[test]
fn what_passes_as_repeated_is_bounded() {
    let Some(kernel) = load(SYNS) else { return };
    let syns: Vec<_> =
        (0..50).map(|number| Packet::from("192.0.2.1").tcp(443, SYN).sequence(number).build()).collect();
    let send = || syns.iter().for_each(|syn| assert!(kernel.test_run(syn, 1).is_ok()));
    send();
    let before = kernel.counters().unwrap();
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(1100));
    send();
    let repeated = kernel.counters().unwrap().since(&before).of(Repeated).packets;
    // Two at once and one a second, as for SYNs themselves; a slow machine may have lost the generation.
    let most = 3 + start.elapsed().as_secs();
    assert!(repeated <= most, "{repeated} of at most {most}");
    assert!(repeated > 0 || start.elapsed() > Duration::from_secs(2));
}

#[test]
fn frames_over_budget_cut_at_every_length_never_stop_the_program() {
    let Some(mut kernel) = load(PACKETS) else { return };
    let budgets = Budgets { packets_per_second: 1, packet_burst: 1, syns_per_second: 1, syn_burst: 1 };
    kernel.set_budgets(&budgets).unwrap();
    for flags in [SYN, ACK] {
        for packet in [
            Packet::from("192.0.2.1").tcp(443, flags),
            Packet::from("192.0.2.1").tcp(443, flags).options(10).tagged(0x8100).tagged(0x88a8),
            Packet::from("2001:db8::1").tcp(443, flags),
            Packet::from("2001:db8::1").tcp(443, flags).extension(0, 30).extension(60, 1),
        ] {
            let frame = packet.build();
            for length in 14..=frame.len() {
                kernel.test_run(&frame[..length], 3).unwrap();
            }
        }
    }
    assert!(kernel.counters().unwrap().dropped().packets > 100);
}
