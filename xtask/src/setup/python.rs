//! The Python packages of the tests' peers, in a virtual environment in the repository's `.tools` folder.
//!
//! What they take apart or build is not made by code of ours: OpenTelemetry's own Protobuf messages decode what the
//! gateway sends as OTLP, and scapy builds packets.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::needs::{Remedy, State, packages_or_by_hand};
use crate::{paths, process};

/// The packages with their releases; a change here installs them anew everywhere.
const PACKAGES: &[&str] = &["opentelemetry-proto==1.45.2", "scapy==2.8.0"];

/// Prints the release of each package that is asked for and there, as `NAME==VERSION`.
const TELL: &str = "import sys; from importlib.metadata import distributions as there\n\
                    have = {one.metadata['Name'].lower(): one.version for one in there()}\n\
                    print(*[f'{name}=={have[name]}' for name in sys.argv[1:] if name in have])";

/// For `setup`: a Python that can make virtual environments.
pub fn look() -> State {
    match paths::executable("python3") {
        Some(python)
            if process::capture(Command::new(&python).args(["-c", "import ensurepip, venv"])).is_ok() =>
        {
            State::Present(python.display().to_string())
        }
        _ => State::Missing {
            reason: "no `python3` that can make virtual environments".into(),
            remedy: packages_or_by_hand(vec!["python3", "python3-venv"], || {
                "install Python 3 with its `venv` module".into()
            }),
        },
    }
}

/// For `setup`: the packages, in the releases that are wanted.
pub fn look_for_packages() -> State {
    let python = paths::tools().join("python/bin/python3");
    let names = PACKAGES.iter().filter_map(|package| package.split("==").next());
    let mut asked = Command::new(&python);
    asked.args(["-c", TELL]).args(names);
    let found = python.exists().then(|| process::capture(&mut asked).unwrap_or_default());
    let reason = match found.as_deref().map(str::trim) {
        Some(found) if found == PACKAGES.join(" ") => {
            return State::Present(format!("{found} in {}", paths::short(&paths::tools().join("python"))));
        }
        Some("") => "not installed".to_owned(),
        Some(found) => format!("there are {found} of {}", PACKAGES.join(" ")),
        None => "no virtual environment yet".to_owned(),
    };
    State::Missing { reason, remedy: Remedy::Steps(install) }
}

fn install() -> Result<()> {
    let Some(python) = paths::executable("python3") else { bail!("there is no python3") };
    let folder = paths::tools().join("python");
    std::fs::create_dir_all(paths::tools())?;
    process::run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/python3"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    process::run_logged(
        &mut pip,
        "installing the Python packages of the tests",
        &paths::tools().join("python.log"),
    )
    .with_context(|| format!("{} could not be installed", PACKAGES.join(" and ")))
}
