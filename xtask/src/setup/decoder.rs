//! OpenTelemetry's own Protobuf messages for Python, in a virtual environment in the repository's `.tools` folder: the
//! tests decode with them what the gateway sends as OTLP, so that encoder and decoder share nothing.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::needs::{Remedy, State, packages_or_by_hand};
use crate::{paths, process};

/// The release; a change here installs it anew everywhere.
const PACKAGE: &str = "opentelemetry-proto";
const VERSION: &str = "1.45.2";

/// For `setup`: a Python that can make virtual environments.
pub fn look_for_python() -> State {
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

/// For `setup`: the messages, in the release that is wanted.
pub fn look() -> State {
    let python = paths::tools().join("python/bin/python3");
    let asked = format!("from importlib.metadata import version; print(version('{PACKAGE}'))");
    let found = python.exists().then(|| process::capture(Command::new(&python).args(["-c", &asked])));
    let reason = match found {
        Some(Ok(version)) if version.trim() == VERSION => {
            return State::Present(format!("{VERSION} in {}", paths::short(&paths::tools().join("python"))));
        }
        Some(Ok(version)) => format!("is {}, not {VERSION}", version.trim()),
        Some(Err(_)) => "not installed".to_owned(),
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
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg(format!("{PACKAGE}=={VERSION}"));
    process::run_logged(&mut pip, "installing OpenTelemetry's messages", &paths::tools().join("python.log"))
        .with_context(|| format!("{PACKAGE} {VERSION} could not be installed"))
}
