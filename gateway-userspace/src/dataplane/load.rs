//! Loading the program: from the bytes in this binary to a descriptor, with every map pinned.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Map, MapError},
    programs::{Extension, ProgramError, ProgramFd, Xdp, links::FdLink},
};
use gateway_common::{
    maps::{self, Spec},
    verdict::Reason,
};
use rustix::thread::{CapabilitySet, capabilities};

use super::{
    Error, Options, clock,
    diagnostics::Diagnostics,
    mapped,
    migrate::{Counted, Migration},
    pins,
    resize::Resize,
    syscall,
};

/// The object file, aligned as the parser wants it; empty if it was not there when this was built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.bpf.o"));

/// The loaded programs.
pub struct Program {
    ebpf: Ebpf,
    attached: ProgramFd,
    pin_root: PathBuf,
    /// The maps it uses, with their pins.
    maps: Vec<(Spec, PathBuf)>,
}

/// The program once more, as an extension that takes the place of a function of another program.
pub struct Extended {
    ebpf: Ebpf,
    /// What it says in words: each load has a ring of its own.
    pub diagnostics: Diagnostics,
}

/// The maps of the program, to be taken one by one by those who own them.
pub struct Maps {
    maps: Vec<(&'static str, Option<Map>)>,
}

impl Maps {
    /// Takes a map out.
    pub fn take(&mut self, spec: &Spec) -> Result<Map, Error> {
        self.maps
            .iter_mut()
            .find(|(name, _)| *name == spec.name)
            .and_then(|(_, map)| map.take())
            .ok_or(Error::Object { what: "map", name: spec.name })
    }

    /// Takes a map out, as one of `aya`'s typed maps.
    pub fn take_as<M: TryFrom<Map, Error = MapError>>(&mut self, spec: &Spec) -> Result<M, Error> {
        M::try_from(self.take(spec)?).map_err(|error| Error::map("use", spec.name, error))
    }

    /// Takes the data of a map out.
    pub fn take_data(&mut self, spec: &Spec) -> Result<aya::maps::MapData, Error> {
        mapped::data(self.take(spec)?).ok_or(Error::Object { what: "map", name: spec.name })
    }
}

/// What [`load`] has made.
pub struct Loaded {
    pub program: Program,
    pub maps: Maps,
    /// What the program says in words; not among the maps.
    pub diagnostics: Diagnostics,
    /// Maps take the place of others: to be finished when the program is attached.
    pub change: Option<Change>,
}

/// Maps that take the place of others.
pub enum Change {
    /// Of another capacity.
    Resize(Box<Resize>),
    /// Of the version before.
    Migration(Box<Migration>),
}

impl Change {
    fn prepare(options: &Options, specs: &[Spec]) -> Result<Option<Self>, Error> {
        if let Some(migration) = Migration::prepare(&options.pin_root, specs)? {
            return Ok(Some(Self::Migration(Box::new(migration))));
        }
        let resize = Resize::prepare(&pins::maps(&options.pin_root), specs)?;
        Ok(resize.map(|resize| Self::Resize(Box::new(resize))))
    }

    fn pin_of(&self, spec: &Spec) -> PathBuf {
        match self {
            Self::Resize(resize) => resize.pin_of(spec),
            Self::Migration(migration) => migration.pin_of(spec),
        }
    }

    fn fill(&self) -> Result<(), Error> {
        match self {
            Self::Resize(resize) => resize.fill(),
            Self::Migration(migration) => migration.fill(),
        }
    }

    /// Puts the new pins in their place: the program is attached. Returns what was counted and is not in the maps.
    pub fn finish(self) -> Result<Counted, Error> {
        match self {
            Self::Resize(resize) => resize.finish().map(|()| Counted::default()),
            Self::Migration(migration) => migration.finish(),
        }
    }
}

/// Loads the programs and opens or makes the maps.
pub fn load(options: &Options) -> Result<Loaded, Error> {
    check_possible()?;
    pins::prepare(&options.pin_root)?;

    let directory = pins::maps(&options.pin_root);
    let specs = sized(options);
    let change = Change::prepare(options, &specs)?;
    let pinned: Vec<_> = specs
        .iter()
        .map(|spec| match &change {
            Some(change) => (*spec, change.pin_of(spec)),
            None => (*spec, directory.join(spec.name)),
        })
        .collect();
    let mut ebpf = loader(&pinned).load(OBJECT).map_err(load_error)?;
    if let Some(change) = &change {
        change.fill()?;
    }
    let maps = specs.iter().map(|spec| (spec.name, ebpf.take_map(spec.name))).collect();
    let diagnostics = Diagnostics::open(&mut ebpf)?;
    load_program(&mut ebpf, maps::PROBE_PROGRAM)?;
    load_program(&mut ebpf, maps::TICKS_PROGRAM)?;
    let program = load_program(&mut ebpf, maps::PROGRAM)?;
    let attached = program.fd().and_then(|fd| fd.try_clone().map_err(ProgramError::IOError));
    let attached = attached.map_err(program_error)?;
    let program = Program { ebpf, attached, pin_root: options.pin_root.clone(), maps: pinned };
    Ok(Loaded { program, maps: Maps { maps }, diagnostics, change })
}

/// Whether there is a program, and the privilege to load it.
pub fn check_possible() -> Result<(), Error> {
    if has_program() { check_privilege() } else { Err(Error::NoProgram) }
}

/// The maps with the sizes that the options ask for.
fn sized(options: &Options) -> [Spec; maps::ALL.len()] {
    let [capacity4, capacity6] = options.deny_capacities();
    maps::ALL.map(|spec| match spec.name {
        name if name == maps::DENY4.name => Spec { max_entries: capacity4, ..spec },
        name if name == maps::DENY6.name => Spec { max_entries: capacity6, ..spec },
        name if name == maps::FILTER.name => Spec { max_entries: options.filter_lines(), ..spec },
        _ => spec,
    })
}

fn loader(maps: &[(Spec, PathBuf)]) -> EbpfLoader<'_> {
    let mut loader = EbpfLoader::new();
    for (spec, pin) in maps {
        loader.map_max_entries(spec.name, spec.max_entries);
        loader.map_pin_path(spec.name, pin.as_path());
    }
    loader
}

fn load_program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Object { what: "program", name })?;
    let program: &mut Xdp = program.try_into().map_err(program_error)?;
    // The verifier gives up with EAGAIN when a signal comes meanwhile (kernel/bpf/verifier.c, since v5.0), and it takes
    // some hundred milliseconds; libbpf tries as often.
    let mut attempts = 0;
    while let Err(error) = program.load() {
        attempts += 1;
        if attempts == LOAD_ATTEMPTS_MAX || !was_interrupted(&error) {
            return Err(program_error(error));
        }
    }
    Ok(program)
}

/// How often a program is offered to a verifier that was interrupted.
const LOAD_ATTEMPTS_MAX: usize = 5;

fn was_interrupted(error: &ProgramError) -> bool {
    let ProgramError::LoadError { io_error, .. } = error else { return false };
    io_error.raw_os_error() == Some(libc::EAGAIN)
}

/// Says which capability is missing, before the kernel says only "operation not permitted".
fn check_privilege() -> Result<(), Error> {
    match &missing_capabilities()[..] {
        [] => Ok(()),
        missing => Err(Error::Privilege { missing: missing.to_vec() }),
    }
}

/// Whether the binary carries the program.
pub fn has_program() -> bool {
    !OBJECT.is_empty()
}

/// Capabilities that the kernel stage needs and this process lacks; none if the kernel does not tell.
pub fn missing_capabilities() -> Vec<&'static str> {
    let Ok(sets) = capabilities(None) else { return Vec::new() };
    let has = |capability| sets.effective.contains(capability);
    let administrator = has(CapabilitySet::SYS_ADMIN);
    [
        ("CAP_BPF", administrator || has(CapabilitySet::BPF)),
        ("CAP_NET_ADMIN", has(CapabilitySet::NET_ADMIN)),
        ("CAP_PERFMON", administrator || has(CapabilitySet::PERFMON)),
    ]
    .into_iter()
    .filter_map(|(name, present)| (!present).then_some(name))
    .collect()
}

fn load_error(error: EbpfError) -> Error {
    match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => {
            kernel_error("to make a map", io_error).unwrap_or_else(|source| Error::Map {
                doing: "make",
                map: "of the program",
                source,
            })
        }
        other => Error::Load(Box::new(other)),
    }
}

fn program_error(error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError { io_error, .. } if is_refusal(&io_error) => {
            Error::Refused { doing: "to load the program", source: io_error }
        }
        other => Error::Verifier(Box::new(other)),
    }
}

/// The errors that say more about the system than about the call.
fn kernel_error(doing: &'static str, source: io::Error) -> Result<Error, io::Error> {
    if source.raw_os_error() == Some(libc::ENOSYS) {
        Ok(Error::NoBpf)
    } else if is_refusal(&source) {
        Ok(Error::Refused { doing, source })
    } else {
        Err(source)
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

impl Program {
    /// Descriptor of the program to attach.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.attached.as_fd()
    }

    /// Runs the attached program on a frame: action and mean time.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<(u32, Duration), Error> {
        self.run(maps::PROGRAM, frame, repeat)
    }

    /// Runs the program that tells what the denylist holds.
    pub fn probe(&self, frame: &[u8]) -> Result<Reason, Error> {
        let (number, _) = self.run(maps::PROBE_PROGRAM, frame, 1)?;
        Ok(Reason::from_number(number).unwrap_or(Reason::Clean))
    }

    /// The tick of the kernel (`jiffies64`).
    pub fn ticks(&self) -> Result<u64, Error> {
        let (low, _) = self.run(maps::TICKS_PROGRAM, &[0; 14], 1)?;
        Ok(clock::ticks_from(low))
    }

    fn run(&self, name: &'static str, frame: &[u8], repeat: u32) -> Result<(u32, Duration), Error> {
        let program = self.ebpf.program(name).ok_or(Error::Object { what: "program", name })?;
        let program: &Xdp = program.try_into().map_err(program_error)?;
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let result = program.test_run(options).map_err(|error| Error::TestRun(Box::new(error)))?;
        Ok((result.return_value, result.duration))
    }

    /// Loads the program once more, to take the place of a function of another program. It shares the maps.
    pub fn extend(&self, target: &ProgramFd, function: &str) -> Result<Extended, ProgramError> {
        let target = target.try_clone().map_err(ProgramError::IOError)?;
        let mut ebpf = loader(&self.maps).extension(maps::PROGRAM).load(OBJECT).map_err(extend_error)?;
        let diagnostics = Diagnostics::open(&mut ebpf).map_err(|_| ProgramError::NotLoaded)?;
        let mut extended = Extended { ebpf, diagnostics };
        extended.program()?.load(target, function)?;
        Ok(extended)
    }

    /// The maps are where they stay: what [`Program::extend`] uses from now on.
    pub fn maps_are_settled(&mut self) {
        let directory = pins::maps(&self.pin_root);
        self.maps.iter_mut().for_each(|(spec, pin)| *pin = directory.join(spec.name));
    }

    /// Removes the pins of the maps. They live on until the last descriptor is closed.
    pub fn unpin_maps(&self) -> Result<(), Error> {
        let directory = pins::maps(&self.pin_root);
        let removed = maps::ALL.iter().map(|spec| pins::remove(&directory.join(spec.name)));
        // All are tried before the first failure is returned.
        let result = removed.fold(Ok(()), Result::and);
        pins::remove_directories(&self.pin_root);
        result
    }
}

impl Extended {
    fn program(&mut self) -> Result<&mut Extension, ProgramError> {
        self.ebpf.program_mut(maps::PROGRAM).ok_or(ProgramError::NotLoaded)?.try_into()
    }

    /// Puts it in the place that it was loaded for. The link holds it there until it is closed.
    pub fn attach(&mut self) -> Result<FdLink, ProgramError> {
        let program = self.program()?;
        let link = program.attach()?;
        Ok(program.take_link(link)?.into())
    }

    /// Pins the program.
    pub fn pin(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Pin { doing: "pin the program", path: path.into(), source };
        let fd = self.program().and_then(|program| Ok(program.fd()?.as_fd().try_clone_to_owned()?));
        let fd = fd.map_err(|error| failed(io::Error::other(error)))?;
        syscall::pin(fd.as_fd(), path).map_err(failed)
    }

    /// Its id in the kernel.
    pub fn id(&mut self) -> Result<u32, ProgramError> {
        let fd = self.program()?.fd()?;
        Ok(syscall::program_info(fd.as_fd()).map_err(ProgramError::IOError)?.id)
    }
}

/// The maps and the text of the program have been loaded before: what is left to fail is its BTF.
fn extend_error(error: EbpfError) -> ProgramError {
    match error {
        EbpfError::ProgramError(error) => error,
        EbpfError::BtfError(error) => ProgramError::Btf(error),
        EbpfError::MapError(error) => ProgramError::MapError(error),
        other => ProgramError::IOError(io::Error::other(other)),
    }
}
