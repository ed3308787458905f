//! The programs beside ours: the generator with its bare drop, and Debian's `xdp-filter`.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, Map, MapData, PerCpuHashMap, PerCpuValues},
    programs::Xdp,
    util::nr_cpus,
};
use gateway_common::bench::{Plan, scatter};

use crate::measure::cpu_ns;

/// Where `cargo xtask build-ebpf` puts it, relative to the root of the repository.
const GENERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ebpf/generator.bpf.o");
/// Where Debian's `xdp-tools` puts it: source and destination addresses, allow what is not listed.
const XDP_FILTER: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_ip.o";
const XDP_FILTER_PROGRAM: &str = "xdpfilt_alw_ip";
/// `MAP_FLAG_SRC` of xdp-filter: the entry applies to source addresses.
const XDP_FILTER_SOURCE: u64 = 1;

/// The number of a descriptor, for a call that takes numbers.
pub fn fd(program: BorrowedFd<'_>) -> RawFd {
    program.as_raw_fd()
}

/// A program that can be run by itself.
pub trait Peer {
    /// The loaded program.
    fn program(&self) -> Result<&Xdp>;

    /// Descriptor of the program.
    fn fd(&self) -> Result<RawFd> {
        Ok(self.program()?.fd()?.as_fd().as_raw_fd())
    }

    /// CPU time of `repeat` runs on a frame.
    fn call(&self, frame: &[u8], repeat: u32) -> Result<f64> {
        run(self.program()?, frame, repeat)
    }
}

fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<f64> {
    cpu_ns(|| {
        program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() })?;
        Ok(())
    })
}

/// `gateway_common::bench::Plan`, for aya.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire(Plan);

// SAFETY: `Plan` is four integers without padding.
unsafe impl aya::Pod for Wire {}

/// The generator and the bare drop.
pub struct Generator {
    ebpf: Ebpf,
    plan: Array<MapData, Wire>,
    subject: MapData,
}

impl Generator {
    pub fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .load_file(GENERATOR)
            .context("the generator is missing: build it with `cargo xtask build-ebpf`")?;
        for name in ["floor", "generate"] {
            let program: &mut Xdp = ebpf.program_mut(name).context("no such program")?.try_into()?;
            program.load()?;
        }
        let plan = Array::try_from(ebpf.take_map("PLAN").context("no PLAN")?)?;
        let Some(Map::ProgramArray(subject)) = ebpf.take_map("SUBJECT") else {
            anyhow::bail!("the generator has no SUBJECT");
        };
        Ok(Self { ebpf, plan, subject })
    }

    pub fn floor_fd(&self) -> Result<RawFd> {
        Ok(self.named("floor")?.fd()?.as_fd().as_raw_fd())
    }

    pub fn call_floor(&self, frame: &[u8], repeat: u32) -> Result<f64> {
        run(self.named("floor")?, frame, repeat)
    }

    /// CPU time of `repeat` runs of a program behind the generator.
    pub fn call(&mut self, plan: Plan, program: RawFd, frame: &[u8], repeat: u32) -> Result<f64> {
        // The walk goes on where the last call of any subject ended: nobody finds its sources warm.
        let next = self.plan.get(&0, 0)?.0.next;
        self.plan.set(0, Wire(Plan { next, ..plan }), 0)?;
        put_program(self.subject.fd().as_fd(), program).context("cannot jump to the program")?;
        run(self.named("generate")?, frame, repeat)
    }

    fn named(&self, name: &str) -> Result<&Xdp> {
        Ok(self.ebpf.program(name).context("no such program")?.try_into()?)
    }
}

/// Puts a program into slot 0. `aya` wants its own type of descriptor, which only its programs have.
fn put_program(map: BorrowedFd<'_>, program: RawFd) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
    let (key, value) = (0_u32, program as u32);
    let update = Update {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: &raw const key as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    // SAFETY: the attributes and the key and value they point to live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_UPDATE_ELEM,
            &raw const update,
            size_of::<Update>() as libc::c_uint,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Debian's `xdp-filter`, its list enlarged beyond the 10 000 entries that it comes with.
pub struct XdpFilter {
    ebpf: Ebpf,
    pins: PathBuf,
}

impl XdpFilter {
    /// `None` if it is not installed.
    pub fn load(entries: u32) -> Result<Option<Self>> {
        if !Path::new(XDP_FILTER).exists() {
            return Ok(None);
        }
        let pins = PathBuf::from(format!("/sys/fs/bpf/portcullis-peer-{}", std::process::id()));
        std::fs::create_dir_all(&pins)?;
        let ebpf = EbpfLoader::new()
            .map_max_entries("filter_ipv4", entries.max(10_000))
            .default_map_pin_directory(&pins)
            .load_file(XDP_FILTER)?;
        let mut this = Self { ebpf, pins };
        let program: &mut Xdp =
            this.ebpf.program_mut(XDP_FILTER_PROGRAM).context("another version")?.try_into()?;
        program.load()?;
        this.fill(entries)?;
        Ok(Some(this))
    }

    fn fill(&mut self, entries: u32) -> Result<()> {
        let map = self.ebpf.map_mut("filter_ipv4").context("another version")?;
        let mut map: PerCpuHashMap<_, u32, u64> = map.try_into()?;
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        for number in 0..entries {
            let values = PerCpuValues::try_from(vec![XDP_FILTER_SOURCE; cpus])?;
            map.insert(scatter(number).to_be(), values, 0)?;
        }
        Ok(())
    }
}

impl Peer for XdpFilter {
    fn program(&self) -> Result<&Xdp> {
        Ok(self.ebpf.program(XDP_FILTER_PROGRAM).context("another version")?.try_into()?)
    }
}

impl Drop for XdpFilter {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.pins) {
            eprintln!("{} is left behind: {error}", self.pins.display());
        }
    }
}
