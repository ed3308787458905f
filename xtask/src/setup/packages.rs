//! Debian packages: installed in one call, without questions, without starting a service, without removing anything.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, privilege::Privilege, process};

/// Run by `sh` as root. A `policy-rc.d` that says 101 keeps package scripts from starting services (Debian Policy
/// 9.3.3.2); it is put away again, an existing one is left alone. Services that came with a package stay off at the
/// next boot too: they are installed to be started by tests, on ports of their own.
const SCRIPT: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$guard"
    chmod 755 "$guard"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT TERM
fi
install() { apt-get install -q -y --no-install-recommends --no-remove -o DPkg::Lock::Timeout=120 "$@"; }
fresh=yes
for package in "$@"; do
    apt-cache policy "$package" | grep -q 'Candidate: [0-9]' || fresh=no
done
[ $fresh = yes ] || apt-get update -q
install "$@" || { apt-get update -q; install "$@"; }
if [ -d /run/systemd/system ]; then
    for service in nginx haproxy fail2ban; do
        case " $* " in *" $service "*) systemctl disable --quiet "$service" || true ;; esac
    done
fi
"#;

/// Installs `names` with apt, as root or through sudo.
pub fn install(names: &[&str]) -> Result<()> {
    let Some(mut command) = Privilege::current().command("sh", &[]) else {
        bail!(
            "packages are missing and this user is not root and has no sudo; as root type:\n    {}",
            by_hand(names)
        );
    };
    command.args(["-c", SCRIPT, "setup"]).args(names);
    command.stdin(std::process::Stdio::null());
    authenticate()?;
    let task = format!("installing {} Debian packages: {}", names.len(), names.join(" "));
    let log = paths::tools().join("packages.log");
    process::run_logged(&mut command, &task, &log)
        .with_context(|| format!("as root type:\n    {}", by_hand(names)))
}

/// Lets sudo ask for its password on the terminal now, because the installer's own output goes to a file.
fn authenticate() -> Result<()> {
    if Privilege::current() != Privilege::Sudo {
        return Ok(());
    }
    let options = crate::privilege::sudo_options(&[]);
    process::run(Command::new("sudo").args(options).arg("--validate"))
        .context("sudo did not let this user in")
}

fn by_hand(names: &[&str]) -> String {
    format!("apt-get update && apt-get install --no-install-recommends {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_valid_shell() {
        process::capture(Command::new("sh").args(["-n", "-c", SCRIPT])).unwrap();
    }

    #[test]
    fn the_line_to_type_by_hand_names_every_package() {
        assert!(by_hand(&["nginx", "curl"]).ends_with("--no-install-recommends nginx curl"));
    }
}
