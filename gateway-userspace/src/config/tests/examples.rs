//! The files in `examples/`, and what becomes of broken pieces of them.

use std::path::{Path, PathBuf};

use super::problems;
use crate::config::{Environment, load_from, load_text};
use crate::diagnostic::render;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    paths.sort();
    paths
}

fn full() -> String {
    let path = examples().into_iter().find(|path| path.ends_with("full.toml")).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_example_is_good_and_without_warnings() {
    assert!(examples().len() >= 7);
    for path in examples() {
        match load_from(&path, &Environment::by_name(&|_| None), false) {
            Ok((_, report)) => assert!(report.problems.is_empty(), "{}", render::human(&report, false)),
            Err(report) => panic!("{}", render::human(&report, false)),
        }
    }
}

#[test]
fn the_example_of_the_sources_takes_their_variables() {
    let path = examples().into_iter().find(|path| path.ends_with("seeds.toml")).unwrap();
    let from_issuer = |name: &str| match name {
        "JWKS_URI" => Some("https://id.example.org/keys".to_owned()),
        "ISSUER" => Some("https://id.example.org/".to_owned()),
        "AUDIENCE" => Some("orders".to_owned()),
        _ => None,
    };
    let (config, _) = load_from(&path, &Environment::by_name(&from_issuer), false).unwrap();
    let text = format!("{:?}", config.auth);
    for expected in ["https://id.example.org/keys", "\"https://id.example.org/\"", "\"orders\""] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().public_key_pem();
    let from_variable = |name: &str| (name == "JWKS_PUBLIC_KEY").then(|| pem.replace('\n', "\\n"));
    let (config, _) = load_from(&path, &Environment::by_name(&from_variable), false).unwrap();
    assert!(format!("{:?}", config.auth).contains("BEGIN PUBLIC KEY"));
}

#[test]
fn the_full_example_has_every_key_of_the_reference() {
    use crate::config::decode::{Spec, Takes};
    let text = full();
    let mut specs: Vec<&Spec> =
        crate::config::file::SECTIONS.iter().flat_map(|section| section.specs.iter().copied()).collect();
    let missing_on_purpose = ["interface"];
    while let Some(spec) = specs.pop() {
        for key in spec.keys {
            let written = text.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("{} ", key.name))
                    || line.starts_with(&format!("{}.", key.name))
                    || line.contains(&format!("{{ {} =", key.name))
                    || line.contains(&format!(", {} =", key.name))
            });
            assert!(written || missing_on_purpose.contains(&key.name), "{}: `{}`", spec.title, key.name);
            if let Takes::Table(inner) = key.takes {
                specs.push(inner);
            }
        }
    }
}

#[test]
fn no_beginning_of_a_file_makes_it_panic() {
    let text = full();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(13) {
        problems(&text[..end], &[]);
    }
}

#[test]
fn no_change_of_a_byte_makes_it_panic() {
    let text = full();
    // xorshift: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let alphabet = b"\"'[]{}=.,#\n\r\t $\\\x00\x7f0a-_:/*%@\xc3\xa9";
    for _ in 0..400 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..1 + next() % 8 {
            let at = next() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = alphabet[next() % alphabet.len()],
                1 => bytes.insert(at, alphabet[next() % alphabet.len()]),
                _ => drop(bytes.drain(at..(at + next() % 40).min(bytes.len()))),
            }
        }
        problems(&String::from_utf8_lossy(&bytes), &[]);
    }
}

#[test]
fn no_value_in_place_of_another_makes_it_panic() {
    let values = [
        "0",
        "-1",
        "1.5",
        "true",
        "\"\"",
        "\"x\"",
        "[]",
        "[[]]",
        "[0, \"x\", {}]",
        "{}",
        "{ a = 1 }",
        "1979-05-27",
        "nan",
        "\"${X:-}\"",
        "'''\nx\n'''",
        "9223372036854775807",
    ];
    let text = full();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once('=') else { continue };
        for value in values {
            let mut changed = lines.clone();
            let line = format!("{key}= {value}");
            changed[index] = &line;
            problems(&changed.join("\n"), &[]);
        }
    }
}

#[test]
fn ten_thousand_routes_and_as_many_problems_are_no_burden() {
    let mut text = "[listen.a]\naddress = \"[::]:80\"\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!(
            "[route.r{number}]\nmatch = \"/r{number}/{{id}}\"\nto = \"http://10.0.0.1\"\n"
        ));
    }
    let environment = Environment::by_name(&|_| None);
    let (config, _) = load_text(Path::new("x"), &text, &environment).unwrap();
    assert_eq!(config.route.len(), 10_000);
    let lines = problems(&text.replace("http://", ""), &[]).lines().count();
    assert_eq!(lines, 10_000);
}
