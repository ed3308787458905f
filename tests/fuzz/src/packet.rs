//! The kernel program on packets of strangers, and beside it a second opinion.
//!
//! An input is a [`scenario`] of eight bytes, and a frame. The frame lies in memory once so that one byte read behind its
//! end ends the process, and once so that one before its beginning does. [`sight`] reads it anew, on slices; [`expected`]
//! says from that what must become of it. Verdict, counters, events, the cells that were charged and the socket that was
//! looked for must all agree, which they cannot if the two see another source, class, port or header.

pub mod expected;
pub mod scenario;
pub mod sight;
mod world;

use std::io;

use ::tests::packet::{ACK, Packet, RST, SYN, arp};

use crate::guarded::Guarded;
use crate::run::Target;
use scenario::{SCENARIO_BYTES, Scenario};
use sight::Sight;
use world::World;

/// Longest frame: IPv6 headers may reach beyond what the program looks at.
const FRAME_BYTES_MAX: usize = 4_500;

/// The program and the memory for its frames.
pub struct Packets {
    world: World,
    memory: Guarded,
}

impl Packets {
    /// # Errors
    /// If the kernel gives no memory.
    pub fn new() -> io::Result<Packets> {
        Ok(Packets { world: World::enter(), memory: Guarded::new()? })
    }
}

impl Target for Packets {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let with = |frame: &Vec<u8>, scenario: &[u8; SCENARIO_BYTES]| [&scenario[..], frame].concat();
        let scenarios = scenario::seeds();
        let frames = frames();
        frames
            .iter()
            .enumerate()
            .flat_map(|(number, frame)| {
                // Each frame meets some of the scenarios, and each scenario some of the frames.
                let some = scenarios.iter().skip(number % 3).step_by(3);
                some.map(|scenario| with(frame, scenario)).collect::<Vec<_>>()
            })
            .collect()
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            &[0x08, 0x00, 0x45],
            &[0x86, 0xdd, 0x60],
            &[0x81, 0x00, 0x00, 0x64],
            &[0x88, 0xa8, 0x00, 0x64],
            &[0x08, 0x06],
            &[0x4f],
            &[0x40],
            &[60, 0, 0, 0, 0, 0, 0, 0],
            &[51, 4, 0, 0, 0, 0, 0, 0],
            &[44, 0, 0, 0, 0, 0, 0, 1],
            &[43, 255, 0, 0],
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 22],
            &[0, 67, 0, 68],
            &[2, 34],
            &[0x50, 0x02],
            &[0x50, 0x12],
            &[135, 0],
        ]
    }

    fn bytes_max(&self) -> usize {
        SCENARIO_BYTES + FRAME_BYTES_MAX
    }

    fn check(&mut self, input: &[u8]) -> Result<u64, String> {
        let mut head = [0; SCENARIO_BYTES];
        let bytes = input.len().min(SCENARIO_BYTES);
        head[..bytes].copy_from_slice(&input[..bytes]);
        let frame = &input[bytes..];
        let sight = Sight::of(frame);
        let scenario = Scenario::new(head, &sight);
        let expected = expected::of(&scenario, &sight, frame);
        for at_the_end in [true, false] {
            let placed = self.memory.place(frame, at_the_end);
            let found = self.world.run(&scenario, placed);
            if placed != frame {
                return Err("the program has written to the frame".into());
            }
            if found != expected {
                return Err(format!(
                    "found {found:#?}\nexpected {expected:#?}\nof {sight:?}\nin {scenario:?}"
                ));
            }
        }
        Ok(expected.way(&sight))
    }
}

/// Frames of every shape that the tests of verdicts know.
fn frames() -> Vec<Vec<u8>> {
    let (v4, v6) = (|| Packet::from("192.0.2.7"), || Packet::from("2001:db8:1:2::7"));
    let all = [
        v4(),
        v4().tcp(443, SYN),
        v4().tcp(443, SYN | ACK),
        v4().tcp(443, ACK),
        v4().tcp(443, RST),
        v4().tcp(22, SYN).source_port(1).sequence(7),
        v4().udp(53),
        v4().udp(67),
        v4().udp(68),
        v4().icmp(3),
        v4().icmp(4),
        v4().icmp(8),
        v4().tcp(443, SYN).options(1),
        v4().tcp(22, ACK).options(10),
        v4().udp(22).fragment(100),
        v4().tcp(443, SYN).tagged(0x8100),
        v4().tcp(443, SYN).tagged(0x8100).tagged(0x88a8),
        v4().udp(53).tagged(0x8100).tagged(0x8100).tagged(0x8100),
        v6(),
        v6().tcp(443, SYN),
        v6().tcp(443, ACK),
        v6().tcp(22, SYN),
        v6().udp(53),
        v6().udp(546),
        v6().udp(547),
        v6().icmp(2),
        v6().icmp(128),
        v6().icmp(135).hop_limit(255),
        v6().icmp(135),
        v6().tcp(443, SYN).extension(0, 1),
        v6().tcp(443, SYN).extension(0, 1).extension(43, 2).extension(60, 3),
        v6().tcp(443, SYN)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1),
        v6().tcp(443, SYN)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1),
        v6().udp(22)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1)
            .extension(60, 1),
        v6().udp(22).extension(60, 240),
        v6().udp(22).extension(60, 256),
        v6().tcp(443, SYN).fragment(0),
        v6().tcp(443, SYN).fragment(1),
        v6().tcp(443, SYN).extension(51, 2),
        v6().tcp(443, SYN).tagged(0x88a8),
        Packet::from("fe80::1").icmp(134).hop_limit(255),
        Packet::from("::").icmp(135).hop_limit(255),
        Packet::from("ff02::1").udp(53),
        Packet::from("0.0.0.0").udp(67),
        Packet::from("255.255.255.255").udp(53),
    ];
    let mut frames: Vec<Vec<u8>> = all.iter().map(Packet::build).collect();
    frames.push(arp());
    frames.push(Vec::new());
    frames
}
