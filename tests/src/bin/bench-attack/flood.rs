//! The flood: the program `flood` on live frames, and a wire's end that takes the answers.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions};
use gateway_common::bench;
use tests::interrupt;
use tests::namespace::Pair;

/// Where `cargo xtask build-ebpf` puts it, relative to the root of the repository.
const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ebpf/flood.bpf.o");
/// There are 2^10 sources.
const SOURCES_SHIFT: u32 = 10;
/// Frames of one call: long enough for its set-up, about 20 ms, not to count, short enough to stop soon.
const FRAMES: u32 = 1 << 18;
/// Frames that are sent together; as many as a network card's driver polls at once.
const BATCH: u32 = 64;

/// All sources of the flood, as numbers.
pub fn sources() -> impl Iterator<Item = u32> {
    (0..1 << SOURCES_SHIFT).map(bench::source_of_flood)
}

/// The object with its programs, none of them loaded.
pub fn object() -> Result<Ebpf> {
    EbpfLoader::new()
        .load_file(OBJECT)
        .context("the flood is missing: build it with `cargo xtask build-ebpf`")
}

/// A program of the object, loaded.
pub fn load<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = ebpf.program_mut(name).context("no such program")?.try_into()?;
    program.load()?;
    Ok(program)
}

/// `gateway_common::bench::Flood`, for aya.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire(bench::Flood);

// SAFETY: `Flood` is five integers without padding.
unsafe impl aya::Pod for Wire {}

/// A flood that can be sent.
pub struct Flood {
    ebpf: Ebpf,
    /// A SYN without a source.
    frame: [u8; FRAME_BYTES],
}

impl Flood {
    /// Aims at a port of the victim. Run in the attacker's namespace; its interface takes no packets any more, as the
    /// wire of a real network takes them away from the victim.
    pub fn prepare(pair: &Pair, port: u16) -> Result<Flood> {
        let mut ebpf = object()?;
        load(&mut ebpf, "floor")?.attach(&pair.attacker.interface, XdpMode::Driver)?;
        load(&mut ebpf, "flood")?;
        let name = CString::new(pair.attacker.interface.as_str())?;
        // SAFETY: the name ends with a zero byte.
        let interface = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let frame = frame(pair, port);
        let (ip_sum, tcp_sum) = sums(&frame);
        let plan = bench::Flood { interface, sources_shift: SOURCES_SHIFT, next: 0, ip_sum, tcp_sum };
        let mut map: Array<&mut MapData, Wire> = ebpf.map_mut("FLOOD").context("no FLOOD")?.try_into()?;
        map.set(0, Wire(plan), 0)?;
        Ok(Flood { ebpf, frame })
    }

    /// Sends until `stop`, as fast as this core can. Run in the attacker's namespace.
    pub fn send(&mut self, stop: &AtomicBool) -> Result<()> {
        let program: &Xdp = self.ebpf.program("flood").context("no such program")?.try_into()?;
        while !stop.load(Relaxed) {
            interrupt::check()?;
            let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
            let options =
                TestRunOptions { data_in: Some(&self.frame), repeat: FRAMES, attrs, ..TestRunOptions::new() };
            match program.test_run(options) {
                Ok(_) => {}
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(error).context("live frames (Linux 5.18) cannot be sent"),
            }
        }
        Ok(())
    }
}

const FRAME_BYTES: usize = 14 + 20 + 20;

/// Source address, source port and both checksums are zero.
fn frame(pair: &Pair, port: u16) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&pair.victim.hardware);
    frame[6..12].copy_from_slice(&pair.attacker.hardware);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let (ip, tcp) = frame[14..].split_at_mut(20);
    // Version and length, total length, "don't fragment", time to live, TCP.
    ip[0] = 0x45;
    ip[3] = 40;
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 6;
    ip[16..].copy_from_slice(&pair.victim.address.octets());
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    // Length of the header, SYN, window.
    tcp[12] = 5 << 4;
    tcp[13] = 0x02;
    tcp[14..16].copy_from_slice(&64_240_u16.to_be_bytes());
    frame
}

/// The sums of the IPv4 header, and of the TCP header with its pseudo header (RFC 9293, section 3.1).
fn sums(frame: &[u8; FRAME_BYTES]) -> (u32, u32) {
    let sum = |bytes: &[u8]| -> u32 {
        bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
    };
    let (ip, tcp) = frame[14..].split_at(20);
    (sum(ip), sum(tcp) + sum(&ip[12..]) + u32::from(ip[9]) + tcp.len() as u32)
}
