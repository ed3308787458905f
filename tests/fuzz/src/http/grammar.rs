//! Messages out of their grammar (RFC 9112), most of them with something at one place that is not in it.

use ::tests::chance::Chance;

use super::HEAD_BYTES;

/// Messages on one connection.
const MESSAGES_MAX: usize = 3;

/// An input of chance: a scenario, and a few requests or answers.
pub fn input(chance: &mut Chance) -> Vec<u8> {
    let mut input: Vec<u8> = (0..HEAD_BYTES).map(|_| chance.number() as u8).collect();
    let is_answer = input[0] & 1 == 1;
    for _ in 0..=chance.below(MESSAGES_MAX) {
        if is_answer { answer(chance, &mut input) } else { request(chance, &mut input) }
    }
    input
}

fn request(chance: &mut Chance, out: &mut Vec<u8>) {
    if chance.one_in(12) {
        out.extend(*chance.of(&[&b"\r\n"[..], b"\r\n\r\n", b"\n", b"\r", b" "]));
    }
    out.extend(*chance.of(METHODS));
    out.extend(odd(chance, b" ", &[b"  ", b"\t", b"", b" \x0b"]));
    out.extend(*chance.of(TARGETS));
    out.extend(odd(chance, b" ", &[b"  ", b"\t", b"", b" \r"]));
    out.extend(version(chance));
    out.extend(line_end(chance));
    if !chance.one_in(12) {
        let host = chance_of(chance, HOSTS);
        field(chance, b"Host", host, out);
    }
    rest(chance, out);
}

fn answer(chance: &mut Chance, out: &mut Vec<u8>) {
    if chance.one_in(4) {
        out.extend(b"HTTP/1.1 ");
        out.extend(*chance.of(&[
            &b"100 Continue\r\n"[..],
            b"103\r\nLink: </a>\r\n",
            b"102 \r\nContent-Length: 5\r\n",
            b"101 Up\r\n",
        ]));
        out.extend(line_end(chance));
    }
    out.extend(version(chance));
    out.extend(odd(chance, b" ", &[b"  ", b"\t", b""]));
    out.extend(*chance.of(STATUSES));
    out.extend(line_end(chance));
    rest(chance, out);
}

/// Fields, and a body that is what they say or nearly.
fn rest(chance: &mut Chance, out: &mut Vec<u8>) {
    for _ in 0..chance.below(4) {
        let (name, value) = (chance_of(chance, NAMES), chance_of(chance, VALUES));
        field(chance, name, value, out);
    }
    let data: Vec<u8> = (0..chance.below(20)).map(|_| *chance.of(b"abc012\r\n ;:")).collect();
    match chance.below(5) {
        0 => {
            out.extend(line_end(chance));
            // Nothing, or what nobody announced.
            if chance.one_in(6) {
                out.extend(data);
            }
        }
        1 | 2 => {
            let length = data.len().to_string().into_bytes();
            let said = match chance.below(14) {
                0 => [b"+", &length[..]].concat(),
                1 => [b"-", &length[..]].concat(),
                2 => [b"0", &length[..]].concat(),
                3 => [&length[..], b", ", &length[..]].concat(),
                4 => [&length[..], b"_0"].concat(),
                5 => chance_of(chance, LENGTHS).to_vec(),
                _ => length,
            };
            field(chance, b"Content-Length", &said, out);
            if chance.one_in(8) {
                field(chance, b"Content-Length", &said, out);
            }
            if chance.one_in(10) {
                let coding = chance_of(chance, CODINGS);
                field(chance, b"Transfer-Encoding", coding, out);
            }
            out.extend(line_end(chance));
            out.extend(data);
        }
        _ => {
            if chance.one_in(10) {
                field(chance, b"Content-Length", b"3", out);
            }
            let coding = if chance.one_in(4) { chance_of(chance, CODINGS) } else { &b"chunked"[..] };
            field(chance, b"Transfer-Encoding", coding, out);
            if chance.one_in(12) {
                let coding = chance_of(chance, CODINGS);
                field(chance, b"Transfer-Encoding", coding, out);
            }
            if chance.one_in(4) {
                field(chance, b"Trailer", b"X-Sum", out);
            }
            out.extend(line_end(chance));
            chunks(chance, &data, out);
        }
    }
}

fn chunks(chance: &mut Chance, data: &[u8], out: &mut Vec<u8>) {
    for chunk in data.chunks(1 + chance.below(8)) {
        let size = match chance.below(24) {
            0 => format!("0x{:x}", chunk.len()),
            1 => format!("+{:x}", chunk.len()),
            2 => format!("{:x}_", chunk.len()),
            3 => format!("{:0width$x}", chunk.len(), width = 1 + chance.below(20)),
            4 => format!("1000000000000000{:x}", chunk.len()),
            5 => format!(" {:x}", chunk.len()),
            6 => format!("-{:x}", chunk.len()),
            7 => "ffffffffffffffff".into(),
            _ => format!("{:X}", chunk.len()),
        };
        out.extend(size.as_bytes());
        if chance.one_in(8) {
            out.extend(vec![*chance.of(b" \t"); chance.below(20)]);
        }
        if chance.one_in(5) {
            out.extend(chance_of(chance, EXTENSIONS));
        }
        out.extend(line_end(chance));
        out.extend(chunk);
        out.extend(odd(chance, b"\r\n", &[b"\n", b"", b"\r", b"x\r\n"]));
    }
    out.extend(odd(chance, b"0", &[b"00", b"", b"0 ", b"0;a", b"-0", b"0x0"]));
    out.extend(line_end(chance));
    while chance.one_in(4) {
        let (name, value) = (chance_of(chance, TRAILERS), chance_of(chance, VALUES));
        field(chance, name, value, out);
    }
    out.extend(line_end(chance));
}

fn field(chance: &mut Chance, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if chance.one_in(60) {
        out.push(chance.number() as u8);
    }
    match chance.below(20) {
        0 => out.extend(name.to_ascii_lowercase()),
        1 => out.extend(name.to_ascii_uppercase()),
        _ => out.extend(name),
    }
    out.extend(odd(chance, b":", &[b" :", b"\t:", b"", b"::", b"\x0b:", b"\0:"]));
    out.extend(*chance.of(&[&b" "[..], b" ", b" ", b"", b"\t", b" \t  "]));
    out.extend(value);
    if chance.one_in(30) {
        out.push(chance.number() as u8);
    }
    out.extend(*chance.of(&[&b""[..], b"", b"", b" ", b"\t "]));
    if chance.one_in(40) {
        // A folded line, or a CR within it.
        out.extend(*chance.of(&[&b"\r\n more"[..], b"\r\n\tmore", b"\rmore", b"\n more", b"\r\n \r\n"]));
    }
    out.extend(line_end(chance));
}

fn line_end(chance: &mut Chance) -> &'static [u8] {
    odd(chance, b"\r\n", &[b"\n", b"\r", b"\n\r", b"\r\r\n", b" \r\n", b"\r\n\r\n"])
}

fn version(chance: &mut Chance) -> &'static [u8] {
    let others: &[&[u8]] = &[
        b"HTTP/1.0",
        b"HTTP/1.0",
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"HTTP/01.1",
        b"",
    ];
    if chance.one_in(6) { chance_of(chance, others) } else { b"HTTP/1.1" }
}

/// What belongs there, and once in 40 times something else.
fn odd(chance: &mut Chance, usual: &'static [u8], others: &[&'static [u8]]) -> &'static [u8] {
    if chance.one_in(40) { chance_of(chance, others) } else { usual }
}

fn chance_of(chance: &mut Chance, all: &[&'static [u8]]) -> &'static [u8] {
    all[chance.below(all.len())]
}

const METHODS: &[&[u8]] = &[
    b"GET",
    b"GET",
    b"POST",
    b"POST",
    b"PUT",
    b"HEAD",
    b"OPTIONS",
    b"DELETE",
    b"CONNECT",
    b"TRACE",
    b"PRI",
    b"get",
    b"M-SEARCH",
    b"G(T",
    b"",
];

const TARGETS: &[&[u8]] = &[
    b"/",
    b"/a",
    b"/a?b=c",
    b"/%2e%2E/a",
    b"/a//b/../c",
    b"*",
    b"http://a/x",
    b"http://a",
    b"http://a:80/x?y",
    b"https://a/",
    b"a:80",
    b"//a/b",
    b"/\xc3\xa9",
    b"/\xff",
    b"/a#b",
    b"/a|b",
    b"/a\\b",
    b"/a\"b",
    b"/<a>",
    b"http://u@a/",
    b"ftp://a/",
    b"/a b",
    b"?",
    b"/?",
    b"/a\0",
    b"/a\x7f",
    b"http://",
    b"http://a:99999/",
    b"http://[::1]/",
    b"/a;b",
    b"/a%00b",
    b"/a%zz",
    b"",
];

const HOSTS: &[&[u8]] =
    &[b"a", b"a", b"a", b"a.test:80", b"A.", b"[::1]", b"", b"a, b", b"a b", b"a:x", b"a@b", b"a/b"];

const NAMES: &[&[u8]] = &[
    b"X-A",
    b"X-A",
    b"X_A",
    b"Accept",
    b"Connection",
    b"Connection",
    b"Keep-Alive",
    b"Upgrade",
    b"Expect",
    b"Expect",
    b"TE",
    b"Host",
    b"Cookie",
    b"Trailer",
    b"Proxy-Connection",
    b"HTTP2-Settings",
    b"Transfer-Encoding",
    b"Content-Length",
    b"Via",
    b"Date",
    b"Content-Type",
    b"",
    b"X A",
    b"X\xe9",
    b"X(",
    b"Content-Length ",
    b"Transfer_Encoding",
];

const VALUES: &[&[u8]] = &[
    b"1",
    b"",
    b"close",
    b"keep-alive",
    b"keep-alive, x-a",
    b"close;x",
    b"Close , x",
    b"keep-alive;timeout=5",
    b"\xff, close",
    b"100-continue",
    b"100-Continue",
    b"magic",
    b"trailers",
    b"trailers;q=0.5",
    b"h2c",
    b"a=b",
    b"x-a",
    b"host",
    b"\xe9",
    b"a\0b",
    b"a\x7fb",
    b"a\x0bb",
    b"a\tb",
    b"chunked",
    b"identity",
    b"3",
    b"\"a, b\"",
    b"X-Sum",
];

const TRAILERS: &[&[u8]] =
    &[b"X-Sum", b"X-B", b"Content-Length", b"Host", b"X B", b"", b"Transfer-Encoding", b" X"];

const CODINGS: &[&[u8]] = &[
    b"chunked",
    b"Chunked",
    b"CHUNKED",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"gzip",
    b"",
    b"chunked;a=b",
    b"\"chunked\"",
    b"chunked,",
    b",chunked",
    b"xchunked",
    b"\x0bchunked",
    b"chunked\0",
    b"chun ked",
    b"identity, chunked",
    b"\xffchunked",
];

const LENGTHS: &[&[u8]] = &[
    b"",
    b"x",
    b"5 5",
    b"5;",
    b"0x5",
    b"5.0",
    b"1e1",
    b"00000000000000000000003",
    b"18446744073709551615",
    b"18446744073709551613",
    b"18446744073709551616",
    b"9223372036854775807",
    b"9223372036854775808",
    b"5,",
    b",5",
    b"5,6",
    b"\"5\"",
    b"5\x0b",
    b"\xff5",
];

const EXTENSIONS: &[&[u8]] = &[
    b";a",
    b";a=b",
    b";a=\"b c\"",
    b";",
    b" ;a",
    b"; a = b",
    b";a\nb",
    b";a\x0bb",
    b";a\x00",
    b";a\xffb",
    b";a\rb",
    b";a;b;c",
    b";\"\r\n\"",
];

const STATUSES: &[&[u8]] = &[
    b"200 OK",
    b"200 OK",
    b"200 OK",
    b"200",
    b"200 ",
    b"204 No Content",
    b"304 Not Modified",
    b"101 Switching Protocols",
    b"404 \xe9",
    b"999 x",
    b"099 x",
    b"20 OK",
    b"2000 OK",
    b"+20 OK",
    b"200\tOK",
    b"200 a\0b",
    b"200 a\rb",
];
