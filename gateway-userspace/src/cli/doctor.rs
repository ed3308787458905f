//! `portcullis doctor`: whether this machine can do what the configuration asks of the kernel stage, and what is missing
//! costs. It asks the machine, not the gateway, which need not run.

use std::path::PathBuf;

use serde::Serialize;

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
    /// What the configuration asks for and cannot have, each in a sentence.
    missing: Vec<String>,
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
    let findings = look(shield.as_ref());
    output.answer(&findings, || text(&findings));
    exit(&findings)
}

fn look(shield: Option<&Shield>) -> Findings {
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
    let missing = if wanted { missing(&features, &interfaces, native) } else { Vec::new() };
    Findings { kernel: features::release(), wanted, features, interfaces, missing }
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
            let findings = Findings { kernel: "6.1".into(), wanted: true, features, interfaces, missing };
            assert_eq!(exit(&findings), expected, "{description}: {:?}", findings.missing);
            let text = text(&findings);
            assert!(findings.missing.iter().all(|line| text.contains(line)), "{text}");
        }
    }
}
