//! The formats in which lists are read, and how one is told from another.

use std::fmt;
use std::str::FromStr;

/// What a list is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Whatever it looks like, see [`Format::detect`].
    #[default]
    Auto,
    /// One address, network or range a line, with comments and further columns.
    Text,
    /// JSON of CrowdSec's local API: a stream of decisions, or a plain array of them.
    CrowdSec,
    /// What `nft list` prints, as text or (`-j`) as JSON, and scripts with `add element`.
    Nft,
    /// What `ipset save` prints.
    Ipset,
}

/// Not the name of a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no format of lists; expected auto, text, crowdsec, nft or ipset")]
pub struct UnknownFormat(Box<str>);

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] = [Format::Auto, Format::Text, Format::CrowdSec, Format::Nft, Format::Ipset];

    /// The name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Auto => "auto",
            Format::Text => "text",
            Format::CrowdSec => "crowdsec",
            Format::Nft => "nft",
            Format::Ipset => "ipset",
        }
    }

    /// What `list` looks like, by its first line that is not empty and no comment: never [`Format::Auto`]. What looks
    /// like nothing else is text, whose lines are then skipped one by one if they are none.
    pub fn detect(list: &[u8]) -> Format {
        let list = list.strip_prefix(BYTE_ORDER_MARK).unwrap_or(list).trim_ascii_start();
        if list.starts_with(b"{") || list.starts_with(b"[") || list == b"null" {
            let head = &list[..list.len().min(HEAD_BYTES)];
            let is_nft = memchr::memmem::find(head, b"\"nftables\"").is_some();
            return if is_nft { Format::Nft } else { Format::CrowdSec };
        }
        let first = list
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .find(|line| !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b";"))
            .unwrap_or_default();
        let mut words = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some(b"table" | b"set" | b"map" | b"define" | b"flush"), Some(_)) => Format::Nft,
            (Some(b"add" | b"delete" | b"create" | b"destroy"), Some(b"table" | b"set" | b"element"))
                if !matches!(words.next(), None | Some(b"hash:ip" | b"hash:net")) =>
            {
                Format::Nft
            }
            (Some(b"create" | b"add" | b"del" | b"-N" | b"-A" | b"-D" | b"-exist" | b"-!"), Some(_)) => {
                Format::Ipset
            }
            _ => Format::Text,
        }
    }
}

/// UTF-8's, which some editors put first.
pub(super) const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];
/// Where a JSON document must have named itself.
const HEAD_BYTES: usize = 256;

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Format, UnknownFormat> {
        let found = Format::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| UnknownFormat(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_known_by_its_first_line_that_says_something() {
        let table = [
            ("", Format::Text),
            ("1.2.3.4\n", Format::Text),
            ("; Spamhaus DROP List\n1.10.16.0/20 ; SBL256894\n", Format::Text),
            ("<html>", Format::Text),
            ("{\"deleted\":null,\"new\":null}", Format::CrowdSec),
            ("\u{feff} \n[{\"value\":\"1.2.3.4\"}]", Format::CrowdSec),
            ("null", Format::CrowdSec),
            ("{\"nftables\": [{\"metainfo\": {}}]}", Format::Nft),
            ("table inet filter {\n\tset a {\n", Format::Nft),
            ("#!/usr/sbin/nft -f\n\nflush ruleset\n", Format::Nft),
            ("add element inet t a { 1.2.3.4 }\n", Format::Nft),
            ("create a hash:ip family inet\nadd a 1.2.3.4\n", Format::Ipset),
            ("create set hash:ip family inet\n", Format::Ipset),
            ("add a 1.2.3.4\n", Format::Ipset),
            ("add element\n", Format::Ipset),
        ];
        for (list, format) in table {
            assert_eq!(Format::detect(list.as_bytes()), format, "{list:?}");
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "csv".parse::<Format>().expect_err("not a format").to_string();
        assert_eq!(error, "`csv` is no format of lists; expected auto, text, crowdsec, nft or ipset");
    }
}
