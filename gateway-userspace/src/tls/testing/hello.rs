//! ClientHellos made from what clients are known to offer.

/// What a ClientHello offers. Numbers as they are written in dumps: four digits with commas between them.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) version: u16,
    pub(crate) ciphers: &'static str,
    pub(crate) extensions: &'static str,
    pub(crate) algorithms: &'static str,
    pub(crate) versions: &'static str,
    pub(crate) protocol: &'static [u8],
}

/// Chrome, as the specification of JA4 shows it, with values of GREASE where Chrome puts them.
pub(crate) const CHROME: Offer = Offer {
    version: 0x0303,
    ciphers: "6a6a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035",
    extensions: "fafa,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,4a4a,0015",
    algorithms: "0403,0804,0401,0503,0805,0501,0806,0601",
    versions: "caca,0304,0303",
    protocol: b"h2",
};

/// The body of Chrome's message.
pub(crate) fn chrome() -> Vec<u8> {
    body(CHROME)
}

/// The body of a message (RFC 8446 §4.1.2). Extensions that a fingerprint does not look into are empty.
pub(crate) fn body(offer: Offer) -> Vec<u8> {
    let mut body = offer.version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    vector(&mut body, &numbers(offer.ciphers));
    body.extend([1, 0]);
    if !offer.extensions.is_empty() {
        vector(&mut body, &extensions(offer));
    }
    body
}

/// Bytes of the extensions of [`CHROME`] in its message.
pub(crate) fn chromes_extension_bytes() -> usize {
    extensions(CHROME).len()
}

/// A handshake message (RFC 8446 §4) with this body.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short message").to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// Records (RFC 8446 §5.1) of at most so many bytes with this message in them.
pub(crate) fn records(message: &[u8], record_bytes: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for fragment in message.chunks(record_bytes) {
        records.extend([22, 3, 1]);
        vector(&mut records, fragment);
    }
    records
}

fn extensions(offer: Offer) -> Vec<u8> {
    let mut extensions = Vec::new();
    for kind in numbers(offer.extensions).chunks(2) {
        extensions.extend(kind);
        let mut content = Vec::new();
        match kind {
            [0x00, 0x0d] => vector(&mut content, &numbers(offer.algorithms)),
            [0x00, 0x2b] => short_vector(&mut content, &numbers(offer.versions)),
            [0x00, 0x10] => {
                let mut names = Vec::new();
                short_vector(&mut names, offer.protocol);
                short_vector(&mut names, b"http/1.1");
                vector(&mut content, &names);
            }
            _ => {}
        }
        vector(&mut extensions, &content);
    }
    extensions
}

fn numbers(list: &str) -> Vec<u8> {
    let number = |text: &str| u16::from_str_radix(text, 16).expect("four hexadecimal digits").to_be_bytes();
    list.split(',').filter(|text| !text.is_empty()).flat_map(number).collect()
}

fn vector(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(u16::try_from(content.len()).expect("a short vector").to_be_bytes());
    out.extend(content);
}

fn short_vector(out: &mut Vec<u8>, content: &[u8]) {
    out.push(u8::try_from(content.len()).expect("a short vector"));
    out.extend(content);
}
