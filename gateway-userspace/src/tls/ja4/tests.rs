//! Fingerprints that others published for the same offers, and bytes that mean harm.

use super::Ja4;
use crate::tls::client_hello::{Assembly, BYTES_MAX, ClientHello, Progress};
use crate::tls::testing::hello::{self, CHROME, Offer};

fn fingerprint(offer: Offer) -> String {
    let body = hello::body(offer);
    Ja4::of(&ClientHello::parse(&body).expect("in order")).as_str().to_owned()
}

const FIREFOX: Offer = Offer {
    ciphers: "1301,1303,1302,c02b,c02f,cca9,cca8,c02c,c030,c00a,c009,c013,c014,009c,009d,002f,0035",
    extensions: "0000,0017,ff01,000a,000b,0023,0010,0005,0022,0033,002b,000d,002d,001c,0015",
    algorithms: "0403,0503,0603,0804,0805,0806,0401,0501,0601,0203,0201",
    versions: "0304,0303",
    ..CHROME
};

/// What Windows itself offers, without TLS 1.3 and ALPN.
const SCHANNEL: Offer = Offer {
    ciphers: "c02c,c02b,c030,c02f,c024,c023,c028,c027,c00a,c009,c014,c013,009d,009c,003d,003c,0035,002f,000a",
    extensions: "0000,0005,000a,000b,000d,0023,0017,ff01",
    algorithms: "0804,0805,0806,0401,0501,0201,0403,0503,0203,0202,0601,0603",
    ..CHROME
};

const CHROME_OF_2020: Offer = Offer {
    ciphers: "aaaa,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035,000a",
    extensions: "4a4a,0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,7a7a,0015",
    algorithms: "0403,0804,0401,0503,0805,0501,0806,0601,0201",
    versions: "2a2a,0304,0303,0302,0301",
    ..CHROME
};

#[test]
fn offers_have_the_fingerprints_that_are_published_for_them() {
    // The second is the same browser that resumes: a pre-shared key instead of padding.
    let resuming =
        "8a8a,0023,0033,ff01,000a,0012,0005,0017,4469,0000,001b,000d,002d,000b,002b,0010,1a1a,0029";
    for (offer, published) in [
        (CHROME, "t13d1516h2_8daaf6152771_e5627efa2ab1"),
        (Offer { extensions: resuming, ..CHROME }, "t13d1516h2_8daaf6152771_9b887d9acb53"),
        (Offer { protocol: b"http/1.1", ..CHROME }, "t13d1516h1_8daaf6152771_e5627efa2ab1"),
        (FIREFOX, "t13d1715h2_5b57614c22b0_3d5424432f57"),
        (SCHANNEL, "t12d190800_d83cc789557e_7af1ed941c26"),
        (CHROME_OF_2020, "t13d1615h2_46e7e9700bed_45f260be83e2"),
    ] {
        assert_eq!(fingerprint(offer), published);
    }
}

#[test]
fn extensions_are_hashed_alone_where_no_signature_algorithms_are_offered() {
    // The hash is the specification's own example.
    assert_eq!(fingerprint(Offer { algorithms: "", ..CHROME }), "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

#[test]
fn what_is_not_offered_is_zeros() {
    let bare = Offer { ciphers: "0a0a", extensions: "", version: 0x0301, ..CHROME };
    assert_eq!(fingerprint(bare), "t10i000000_000000000000_000000000000");
    let named = Offer { extensions: "0000,0010", version: 0x9999, protocol: b"", ..bare };
    assert_eq!(fingerprint(named), "t00d000200_000000000000_000000000000");
}

#[test]
fn the_order_and_the_grease_of_an_offer_do_not_matter() {
    let shuffled =
        "0015,ff01,1a1a,000d,0000,0033,0010,4469,0017,002d,001b,0005,0023,0012,002b,000b,000a,9a9a";
    let other = Offer { extensions: shuffled, versions: "0303,eaea,0304", ..CHROME };
    assert_eq!(fingerprint(other), fingerprint(CHROME));
}

#[test]
fn protocols_that_are_no_words_are_shown_by_their_bytes() {
    for (protocol, shown) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\x20", "20"),
        (b"\xab\xcd", "ad"),
        (b"\x20\x61", "21"),
        (b"\x30\xab", "3b"),
        (b"\x61\x20", "60"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ] {
        assert_eq!(&fingerprint(Offer { protocol, ..CHROME })[8..10], shown, "{protocol:x?}");
    }
}

#[test]
fn more_than_ninety_nine_are_ninety_nine() {
    let ciphers: Vec<String> = (0..300).map(|number| format!("{number:04x}")).collect();
    let ciphers: &'static str = ciphers.join(",").leak();
    assert_eq!(&fingerprint(Offer { ciphers, ..CHROME })[4..6], "99");
}

/// Numbers that look random and are the same in each run (xorshift64).
fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

/// What a connection makes of these bytes when they come in pieces.
fn taken(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Option<Ja4> {
    let (mut assembly, mut end) = (Assembly::default(), 0);
    while end < bytes.len() {
        end = bytes.len().min(end + piece());
        match assembly.advance(&bytes[..end]) {
            Progress::Incomplete => assert!(end < BYTES_MAX, "more than the limit is waited for"),
            Progress::Complete => return Some(Ja4::of(&assembly.hello()?)),
            Progress::Hopeless => return None,
        }
    }
    None
}

#[test]
fn damaged_and_random_bytes_give_a_fingerprint_in_form_or_none() {
    let mut below = numbers(0x9e37_79b9_7f4a_7c15);
    let (mut some, mut none) = (0, 0);
    for round in 0..60_000 {
        let offer = [CHROME, FIREFOX, SCHANNEL, CHROME_OF_2020][below(4)];
        let mut bytes = hello::body(offer);
        // Damage to the message, then to the records around it.
        for _ in 0..below(4) {
            let at = below(bytes.len());
            bytes[at] = below(256) as u8;
        }
        let mut bytes = hello::records(&hello::message(&bytes), 1 + below(700));
        match round % 4 {
            0 => bytes.truncate(below(bytes.len())),
            1 => {
                let at = below(bytes.len());
                bytes[at] ^= 1 << below(8);
            }
            2 => bytes.iter_mut().skip(9).for_each(|byte| *byte = below(256) as u8),
            _ => {}
        }
        match taken(&bytes, || 1 + below(900)) {
            Some(ja4) => {
                let text = ja4.as_str();
                assert_eq!(text.len(), Ja4::LENGTH);
                assert!(
                    text.starts_with('t') && text.bytes().filter(|byte| *byte == b'_').count() == 2,
                    "{text}"
                );
                assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{text}");
                some += 1;
            }
            None => none += 1,
        }
    }
    assert!(some > 10_000 && none > 10_000, "both happen: {some} and {none}");
}
