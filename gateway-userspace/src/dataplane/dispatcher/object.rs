//! The dispatcher program of this host's libxdp: a file `xdp-dispatcher.o` of the package that brought the
//! library, so that whatever we put on an interface is what its other tools know.

use std::{
    env, fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramFd, Xdp},
};

use super::{Problem, config::Config};
use crate::dataplane::syscall;

const FILE: &str = "xdp-dispatcher.o";
const PROGRAM: &str = "xdp_dispatcher";

/// A dispatcher that is loaded and not attached.
pub struct Fresh {
    /// Keeps its map alive.
    _ebpf: Ebpf,
    pub program: ProgramFd,
    pub id: u32,
}

/// Loads a dispatcher with a configuration.
pub fn load(config: &Config) -> Result<Fresh, Problem> {
    let path = find().ok_or(Problem::NoObject)?;
    let failed = |source: aya::EbpfError| Problem::Object { path: path.clone(), source: Box::new(source) };
    let bytes = config.encode();
    let mut ebpf =
        EbpfLoader::new().override_global("conf", &bytes[..], true).load_file(&path).map_err(failed)?;
    let program: &mut Xdp = ebpf.program_mut(PROGRAM).ok_or(Problem::NoObject)?.try_into()?;
    program.load()?;
    let program = program.fd()?.try_clone().map_err(Problem::system("keep the dispatcher"))?;
    let info = syscall::program_info(program.as_fd()).map_err(Problem::system("look at the dispatcher"))?;
    Ok(Fresh { _ebpf: ebpf, program, id: info.id })
}

/// Where distributions put it; `LIBXDP_OBJECT_PATH` comes first, as it does for libxdp.
fn find() -> Option<PathBuf> {
    let named = env::var_os("LIBXDP_OBJECT_PATH").map(PathBuf::from);
    let usual = ["/usr/lib/bpf", "/usr/lib64/bpf", "/usr/local/lib/bpf"].map(PathBuf::from);
    // Debian's multiarch directories: /usr/lib/x86_64-linux-gnu/bpf.
    let below =
        fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("bpf"));
    let mut files = named.into_iter().chain(usual).chain(below).map(|directory| directory.join(FILE));
    files.find(|file: &PathBuf| Path::is_file(file))
}
