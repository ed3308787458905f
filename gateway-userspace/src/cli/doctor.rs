//! `portcullis doctor`: whether this machine can do what the configuration asks of the kernel stage, and what is missing
//! costs. It asks the machine, and a gateway only if one runs: how the kernel stage of that one is.

use std::path::PathBuf;

use serde::Serialize;

use crate::admin::api::{GetStatus, KernelStatus};
use crate::config::model::{Attach, Shield};
use crate::config::{self, Environment};
use crate::dataplane::Options;
use crate::dataplane::features::{self, Feature, Found, Interface};
use crate::diagnostic::render;

use super::table::Table;
use super::{Common, Exit, Output};

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// As `uname -r` says it.
    kernel: String,
    /// Whether the configuration asks for a kernel stage.
    wanted: bool,
    features: Vec<Feature>,
    /// Those of the configuration, else all but loopback.
    interfaces: Vec<Interface>,
    /// The gateway that runs, if one answers.
    running: Option<Running>,
    /// What the configuration asks for and cannot have, or has not, each in a sentence.
    missing: Vec<String>,
}

/// A gateway that runs.
#[derive(Debug, Serialize)]
struct Running {
    pid: u32,
    version: String,
    /// Its configuration file.
    config: String,
    kernel: KernelStatus,
}

/// Looks and prints.
pub fn run(common: &Common, output: &Output) -> Exit {
    let shield = match common.config.exists() {
        false => None,
        true => match config::load_from(&common.config, &Environment::of_process(), false) {
            Ok((config, _warnings)) => config.shield,
            Err(report) => {
                let problems = render::human(&report, output.colour_of_errors);
                eprintln!("{problems}{}", render::summary(&report, &common.config));
                return Exit::Config;
            }
        },
    };
    // Whether one runs is no matter of the machine: without an answer, for whatever reason, nothing is said of it.
    let running = common.call(&GetStatus {}).ok().map(|status| {
        let (pid, version, config) = (status.pid, status.version, status.config);
        Running { pid, version, config, kernel: status.kernel }
    });
    let findings = look(shield.as_ref(), running);
    output.answer(&findings, || text(&findings));
    exit(&findings)
}

fn look(shield: Option<&Shield>, running: Option<Running>) -> Findings {
    let pins: PathBuf = shield.map_or(Options::default().pin_root, |shield| shield.pins.clone());
    let configured: Vec<String> =
        shield.iter().flat_map(|shield| &shield.interfaces).map(|name| name.value.to_string()).collect();
    let wanted = !configured.is_empty();
    let names = match wanted {
        true => configured,
        false => features::interfaces().into_iter().filter(|name| name != "lo").collect(),
    };
    let features = features::probe(&pins);
    let interfaces: Vec<Interface> = names.iter().map(|name| features::interface(name)).collect();
    let native = shield.is_some_and(|shield| shield.attach == Attach::Native);
    let mut missing = if wanted { missing(&features, &interfaces, native) } else { Vec::new() };
    if let Some(running) = running.as_ref().filter(|_| wanted) {
        missing.extend(ailing(&running.kernel));
    }
    Findings { kernel: features::release(), wanted, features, interfaces, running, missing }
}

/// What the kernel stage of a gateway that runs does not do.
fn ailing(kernel: &KernelStatus) -> impl Iterator<Item = String> + '_ {
    let off = kernel.off_because.iter().map(|because| format!("the gateway runs without it: {because}"));
    let lost = kernel
        .lost
        .iter()
        .map(|lost| format!("{}: the gateway enforces nothing there: {}", lost.interface, lost.because));
    let full = kernel
        .full
        .iter()
        .map(|list| format!("{list}: there is no room for more, so new bans hold at layer 7 only"));
    off.chain(lost).chain(full)
}

/// What the configuration asks for and cannot have.
fn missing(features: &[Feature], interfaces: &[Interface], native: bool) -> Vec<String> {
    let needed = features.iter().filter(|feature| feature.required && feature.found == Found::Missing);
    let needed = needed.map(|feature| format!("{} ({}): {}", feature.name, feature.detail, feature.without));
    let gone = interfaces.iter().filter(|interface| !interface.exists);
    let gone = gone.map(|interface| format!("there is no interface {}", interface.name));
    let generic = interfaces.iter().filter(|interface| native && interface.native == Some(false));
    let generic = generic.map(|interface| {
        format!("{}: its driver runs no XDP programs; write `attach = \"auto\"`", interface.name)
    });
    needed.chain(gone).chain(generic).collect()
}

/// Without the privilege the rest may be fine: that has a code of its own.
fn exit(findings: &Findings) -> Exit {
    let lacks = |feature: &Feature| feature.name == features::CAPABILITIES && feature.found == Found::Missing;
    match findings.missing.len() {
        0 => Exit::Done,
        1 if findings.features.iter().any(lacks) => Exit::Privilege,
        _ => Exit::Failed,
    }
}

fn text(findings: &Findings) -> String {
    let mut features = Table::new(&["", "feature", "found", "without it"]);
    for feature in &findings.features {
        let (mark, without) = match (feature.found, feature.required) {
            (Found::Present, _) => ("ok", ""),
            (Found::Missing, true) => ("MISSING", feature.without),
            (Found::Missing, false) => ("missing", feature.without),
            (Found::Unknown, _) => ("?", feature.without),
        };
        features.row([mark.into(), feature.name.into(), feature.detail.clone(), without.into()]);
    }
    let mut text = format!("Linux {}\n\n{}", findings.kernel, features.text());
    if !findings.interfaces.is_empty() {
        text.push_str(&format!("\n{}", interfaces(&findings.interfaces)));
    }
    text.push('\n');
    if let Some(running) = &findings.running {
        text.push_str(&format!("{}\n\n", told(running)));
    }
    match (findings.wanted, findings.missing.is_empty()) {
        (false, _) => {
            text.push_str("the configuration asks for no kernel stage: [shield] names no interfaces\n")
        }
        (true, true) => text.push_str("the kernel stage can do what the configuration asks for\n"),
        (true, false) => {
            text.push_str("the kernel stage cannot do what the configuration asks for:\n");
            text.extend(findings.missing.iter().map(|line| format!("- {line}\n")));
        }
    }
    text
}

/// `the gateway that runs (pid 712, 0.1.0, /etc/portcullis/gateway.toml): attached to eth0 (native), enforce, 12 entries`
fn told(running: &Running) -> String {
    let Running { pid, version, config, kernel } = running;
    let attached: Vec<String> =
        kernel.attachments.iter().map(|at| format!("{} ({})", at.interface, at.mode)).collect();
    let stage = match (&kernel.off_because, attached.is_empty()) {
        (Some(_), _) => "without a kernel stage".into(),
        (None, true) => "attached to no interface".into(),
        (None, false) => {
            format!("attached to {}, {}, {} entries", attached.join(", "), kernel.mode, kernel.entries)
        }
    };
    let drift = match kernel.drift {
        0 => String::new(),
        drift => format!(", {drift} times found otherwise than it was written, and put right"),
    };
    format!("the gateway that runs (pid {pid}, {version}, {config}): {stage}{drift}")
}

fn interfaces(interfaces: &[Interface]) -> String {
    let mut table = Table::new(&["interface", "best mode", "driver", "mtu", "Mbit/s", "queues", "attached"]);
    let number = |number: Option<u32>| number.map_or_else(|| "-".into(), |number| number.to_string());
    for interface in interfaces {
        let mode = match (interface.exists, interface.native) {
            (false, _) => "not there",
            (true, Some(true)) => "native",
            (true, Some(false)) => {
                "generic: the driver runs no programs, so the kernel makes a packet of each first"
            }
            (true, None) => "native or generic: this kernel does not tell",
        };
        let attached = match (interface.program, interface.program_mode) {
            (Some(program), Some(mode)) => format!("program {program}, {mode}"),
            (Some(program), None) => format!("program {program}"),
            (None, _) => "-".into(),
        };
        table.row([
            interface.name.clone(),
            mode.into(),
            interface.driver.clone().unwrap_or_else(|| "-".into()),
            number(interface.mtu),
            number(interface.speed_mbit),
            interface.receive_queues.to_string(),
            attached,
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api;

    fn feature(name: &'static str, found: Found, required: bool) -> Feature {
        Feature { name, found, required, detail: "seen".into(), without: "it costs" }
    }

    fn interface(exists: bool, native: Option<bool>) -> Interface {
        Interface {
            name: "eth0".into(),
            exists,
            native,
            driver: None,
            mtu: Some(1500),
            speed_mbit: None,
            receive_queues: 1,
            program: Some(7),
            program_mode: Some("generic"),
        }
    }

    #[test]
    fn only_what_is_asked_for_and_missing_fails() {
        use Found::{Missing, Present, Unknown};
        let good = || interface(true, Some(true));
        let table = [
            ("all there", feature("x", Present, true), good(), false, Exit::Done),
            ("slower without", feature("x", Missing, false), good(), false, Exit::Done),
            ("cannot be seen", feature("x", Unknown, true), good(), false, Exit::Done),
            ("needed", feature("x", Missing, true), good(), false, Exit::Failed),
            ("privilege", feature(features::CAPABILITIES, Missing, true), good(), false, Exit::Privilege),
            (
                "both",
                feature(features::CAPABILITIES, Missing, true),
                interface(false, None),
                false,
                Exit::Failed,
            ),
            ("no interface", feature("x", Present, true), interface(false, None), false, Exit::Failed),
            ("generic will do", feature("x", Present, true), interface(true, Some(false)), false, Exit::Done),
            (
                "generic will not do",
                feature("x", Present, true),
                interface(true, Some(false)),
                true,
                Exit::Failed,
            ),
            ("nobody knows", feature("x", Present, true), interface(true, None), true, Exit::Done),
        ];
        for (description, feature, interface, native, expected) in table {
            let (features, interfaces) = (vec![feature], vec![interface]);
            let missing = missing(&features, &interfaces, native);
            let (kernel, running) = ("6.1".into(), None);
            let findings = Findings { kernel, wanted: true, features, interfaces, running, missing };
            assert_eq!(exit(&findings), expected, "{description}: {:?}", findings.missing);
            let text = text(&findings);
            assert!(findings.missing.iter().all(|line| text.contains(line)), "{text}");
        }
    }

    #[test]
    fn a_gateway_that_runs_and_does_not_enforce_fails() {
        let attachment = |interface: &str| api::Attachment {
            interface: interface.into(),
            mode: "native".into(),
            shared: false,
        };
        let well = KernelStatus {
            on: true,
            mode: "enforce".into(),
            attachments: vec![attachment("eth0"), attachment("eth1")],
            entries: 12,
            ..KernelStatus::default()
        };
        let running = |kernel| Running { pid: 712, version: "0.1.0".into(), config: "g.toml".into(), kernel };
        assert_eq!(ailing(&well).count(), 0);
        assert_eq!(
            told(&running(KernelStatus { drift: 3, ..well.clone() })),
            "the gateway that runs (pid 712, 0.1.0, g.toml): attached to eth0 (native), eth1 (native), enforce, \
             12 entries, 3 times found otherwise than it was written, and put right"
        );
        let lost = api::LostInterface { interface: "eth2".into(), because: "it is gone".into() };
        let ill = KernelStatus { lost: vec![lost], full: vec!["IPv4 addresses (64)".into()], ..well };
        let lines: Vec<String> = ailing(&ill).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let off = KernelStatus { off_because: Some("no privilege".into()), ..KernelStatus::default() };
        assert_eq!(ailing(&off).next().as_deref(), Some("the gateway runs without it: no privilege"));
        assert!(told(&running(off)).ends_with(": without a kernel stage"));
    }
}
