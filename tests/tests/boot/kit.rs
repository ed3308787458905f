//! What a machine is made of, found where `cargo xtask setup boot` and `cargo xtask test` leave it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `cargo xtask test` to the program with the tests of the tier `verdict`.
const VERDICT_TESTS: &str = "PORTCULLIS_VERDICT_TESTS";

/// Everything.
pub struct Kit {
    /// The emulator.
    pub qemu: PathBuf,
    /// The libraries that were unpacked beside it, if it is not the system's.
    pub qemu_libraries: Option<std::ffi::OsString>,
    /// Oldest first; at least one.
    pub kernels: Vec<Kernel>,
    /// The program with the tests of the tier `verdict`.
    pub verdict: PathBuf,
}

/// One kernel.
pub struct Kernel {
    /// Such as `6.1`.
    pub series: String,
    /// Such as `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// Where its image `vmlinuz` and its `modules` are.
    pub folder: PathBuf,
}

impl Kernel {
    /// The beginning of the names of its tests.
    pub fn prefix(&self) -> String {
        format!("linux-{}::", self.series)
    }

    /// The full name of a step of the story.
    pub fn story(&self, step: &str) -> String {
        format!("{}reboot::{step}", self.prefix())
    }

    /// The full name of a test of the tier `verdict`.
    pub fn verdict(&self, test: &str) -> String {
        format!("{}verdict::{test}", self.prefix())
    }
}

impl Kit {
    /// All of it, or what is missing.
    pub fn find() -> Result<Kit, String> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err("the machines that it boots are x86-64, and this one is not".into());
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools");
        let (qemu, qemu_libraries) = qemu(&tools)?;
        let mut kernels = kernels(&tools.join("kernels"));
        if kernels.is_empty() {
            return Err(
                "there is no kernel to boot; `cargo xtask setup boot` fetches Debian's, on Debian".into()
            );
        }
        kernels.sort_by_key(|kernel| {
            kernel.series.split('.').map(|number| number.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
        });
        let verdict = env::var_os(VERDICT_TESTS).map(PathBuf::from);
        let verdict = verdict
            .ok_or_else(|| format!("{VERDICT_TESTS} is not set; `cargo xtask test --tier boot` does"))?;
        Ok(Kit { qemu, qemu_libraries, kernels, verdict })
    }

    /// The names of the tests of the tier `verdict`.
    pub fn verdict_tests(&self) -> Result<Vec<String>, String> {
        let output = Command::new(&self.verdict).args(["--list", "--format", "terse"]).output();
        let output = output.map_err(|error| format!("{} does not start: {error}", self.verdict.display()))?;
        let listed = String::from_utf8_lossy(&output.stdout);
        let names: Vec<_> =
            listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
        if names.is_empty() { Err(format!("{} has no tests", self.verdict.display())) } else { Ok(names) }
    }
}

fn qemu(tools: &Path) -> Result<(PathBuf, Option<std::ffi::OsString>), String> {
    const PROGRAM: &str = "qemu-system-x86_64";
    if let Some(path) = executable(PROGRAM) {
        return Ok((path, None));
    }
    let unpacked = tools.join("qemu");
    let program = unpacked.join("usr/bin").join(PROGRAM);
    if !program.exists() {
        return Err(format!("there is no {PROGRAM}; `cargo xtask setup boot` fetches Debian's, on Debian"));
    }
    let libraries = ["usr/lib", "lib"].map(|lib| unpacked.join(lib).join("x86_64-linux-gnu"));
    Ok((program, env::join_paths(libraries).ok()))
}

/// A program on `PATH` or in the folders for administration, which are not on everybody's.
pub fn executable(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder with the dispatcher of libxdp and the programs of `xdp-filter`, which are looked for where they were
/// installed.
pub fn xdp_objects() -> io::Result<PathBuf> {
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders = below.chain(["/usr/lib".into(), "/usr/lib64".into()]).map(|folder| folder.join("bpf"));
    let found = folders.find(|folder| folder.join("xdp-dispatcher.o").is_file());
    found.ok_or_else(|| io::Error::other("there is no `xdp-dispatcher.o` of libxdp below /usr/lib"))
}

fn kernels(folder: &Path) -> Vec<Kernel> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let complete = entries.filter_map(|entry| {
        let folder = entry.path();
        let release = fs::read_to_string(folder.join("release")).ok()?;
        Some(Kernel { series: entry.file_name().into_string().ok()?, release, folder })
    });
    complete.collect()
}
