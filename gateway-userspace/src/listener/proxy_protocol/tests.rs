//! PROXY protocol headers, whole and cut at every byte, right and wrong.

use super::*;

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn binary(version_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE_2.to_vec();
    bytes.extend([version_command, family]);
    bytes.extend((addresses.len() as u16).to_be_bytes());
    bytes.extend(addresses);
    bytes
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB];

/// Every header that must be understood, with what it says.
fn valid() -> Vec<(Vec<u8>, Header)> {
    let mut ipv6 = Vec::new();
    ipv6.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    ipv6.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    ipv6.extend([0, 80, 0, 81]);
    let with_tlv = [&IPV4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let lines = [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", proxied("192.0.2.1:56324", "198.51.100.1:443")),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 0 65535\r\n", proxied("192.0.2.1:0", "198.51.100.1:65535")),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 80 81\r\n", proxied("[2001:db8::1]:80", "[2001:db8::2]:81")),
        ("PROXY UNKNOWN\r\n", Header::Local),
        ("PROXY UNKNOWN ffff:f...f:ffff 65535 whatever\r\n", Header::Local),
    ];
    let mut all: Vec<_> =
        lines.into_iter().map(|(line, header)| (line.as_bytes().to_vec(), header)).collect();
    all.extend([
        (binary(0x21, 0x11, &IPV4), proxied("192.0.2.1:56324", "198.51.100.1:443")),
        (binary(0x21, 0x11, &with_tlv), proxied("192.0.2.1:56324", "198.51.100.1:443")),
        (binary(0x21, 0x21, &ipv6), proxied("[2001:db8::1]:80", "[2001:db8::2]:81")),
        (binary(0x20, 0x00, &[]), Header::Local),
        (binary(0x20, 0x11, &IPV4), Header::Local),
        (binary(0x21, 0x00, &[]), Header::Local),
        (binary(0x21, 0x31, &[0; 216]), Header::Local),
    ]);
    all
}

#[test]
fn a_complete_header_is_read_and_what_follows_is_left_alone() {
    for (bytes, header) in valid() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))), "{text}");
        let followed = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&followed), Ok(Some((header, bytes.len()))), "{text}");
    }
}

#[test]
fn a_header_cut_at_any_byte_is_incomplete_and_never_wrong() {
    for (bytes, _) in valid() {
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), Ok(None), "{length} bytes of {bytes:?}");
        }
    }
}

#[test]
fn what_is_not_exactly_a_header_is_refused() {
    let lines: &[(&str, Fault)] = &[
        ("GET / HTTP/1.1\r\n", Fault::Signature),
        ("proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n", Fault::Signature),
        ("PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n", Fault::Line),
        ("PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n", Fault::Line),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Fault::Line),
        ("PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n", Fault::Line),
        ("PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n", Fault::Line),
        ("PROXY \r\n", Fault::Line),
    ];
    for (line, fault) in lines {
        assert_eq!(parse(line.as_bytes()), Err(*fault), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX));
    assert_eq!(parse(long.as_bytes()), Err(Fault::TooLong));
    let binaries = [
        (binary(0x11, 0x11, &IPV4), Fault::Binary),
        (binary(0x22, 0x11, &IPV4), Fault::Binary),
        (binary(0x21, 0x12, &IPV4), Fault::Binary),
        (binary(0x21, 0x11, &IPV4[..11]), Fault::Binary),
        (binary(0x21, 0x21, &IPV4), Fault::Binary),
        (binary(0x21, 0x11, &[0; HEADER_BYTES_MAX]), Fault::TooLong),
    ];
    for (bytes, fault) in binaries {
        assert_eq!(parse(&bytes), Err(fault), "{bytes:?}");
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_a_verdict_does_not_change_when_more_arrive() {
    // xorshift64: the same bytes on every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..20_000 {
        let mut bytes = match round % 3 {
            0 => SIGNATURE_1.to_vec(),
            1 => SIGNATURE_2.to_vec(),
            _ => valid()[round % valid().len()].0.clone(),
        };
        let extra = (random() % 64) as usize;
        bytes.extend(std::iter::repeat_with(|| random() as u8).take(extra));
        let index = random() as usize % bytes.len();
        bytes[index] ^= random() as u8;
        let whole = parse(&bytes);
        for length in 0..bytes.len() {
            let part = parse(&bytes[..length]);
            assert!(
                part == Ok(None) || part == whole,
                "{length} bytes of {bytes:?}: {part:?}, then {whole:?}"
            );
        }
    }
}
