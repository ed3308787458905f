//! Every kind of problem with a configuration, once: a stable code, a title, and what `portcullis explain C014` says.
//!
//! Codes are never used twice: one that is no longer reported is taken out and its number stays free.

use crate::diagnostic::Code;

/// What is to be said about a code.
#[derive(Debug)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// In a few words.
    pub title: &'static str,
    /// At length.
    pub text: &'static str,
}

/// The entry of a code, in any case; `c14` and `14` are understood too.
pub fn find(code: &str) -> Option<&'static Entry> {
    let number: u32 = code.trim_start_matches(['c', 'C']).parse().ok()?;
    ALL.iter().find(|entry| entry.code.0 == format!("C{number:03}"))
}

macro_rules! codes {
    ($($constant:ident = $code:literal, $title:literal, $text:literal;)*) => {
        $(#[doc = $title] pub const $constant: Code = Code($code);)*

        /// All codes in their order.
        pub const ALL: &[Entry] = &[$(Entry { code: $constant, title: $title, text: $text }),*];
    };
}

codes! {
    UNKNOWN_KEY = "C001", "unknown key or table",
        "A key or a table that the gateway does not know. Nothing is ignored: a security setting with a slip in its \
        name would otherwise be a setting that is off.";
    WRONG_TYPE = "C002", "value of the wrong type",
        "The key is known, but takes another type of value: a string where a number was found, say. Values with a unit \
        are strings: \"10s\", \"1MiB\", \"100/min\".";
    MISSING_KEY = "C003", "required key missing",
        "The table cannot work without this key. The reference says of each key whether it is required.";
    SYNTAX = "C004", "not TOML",
        "The file is not valid TOML at this place. Reading goes on behind it, so that later problems are reported in \
        the same run. The most frequent causes: a string without quotes, a table defined twice, a missing bracket.";
    UNREADABLE = "C005", "file cannot be read",
        "A file that the configuration is made of, or that it names, does not exist, may not be read by this user, is \
        not UTF-8, or is larger than is allowed.";
    DEFINED_TWICE = "C006", "defined twice",
        "The same table stands in two files. Files are merged by name and their order never matters, so no file may \
        override another: rename one of the two, or delete it.";
    VARIABLE_UNSET = "C007", "variable not set",
        "`${NAME}` is replaced by the variable of that name, which is not set. `${NAME:-default}` gives a default, and \
        `${NAME:-}` makes the setting count as not written when the variable is not set.";
    OVERRIDE_UNKNOWN = "C008", "override that names no setting",
        "A variable that begins with PORTCULLIS__ overrides a setting: PORTCULLIS__SHIELD__BAN is `ban` in `[shield]`, \
        PORTCULLIS__LIMIT__PER_USER__RATE is `rate` in `[limit.per-user]`. This one leads nowhere, or into an array.";
    VARIABLE_MALFORMED = "C009", "not a variable",
        "`${` begins a variable: `${NAME}` or `${NAME:-default}`. For the two characters themselves write `$${`.";
    OUT_OF_RANGE = "C010", "out of range",
        "The value has the right type but is too small or too large.";
    NOT_A_CHOICE = "C011", "not one of the choices",
        "The key takes one of a few words, and this is none of them.";
    EXCLUSIVE = "C012", "settings that exclude each other",
        "Two settings of one table say different things about the same question. Keep one of them.";
    NO_LISTENER = "C013", "nothing to listen on",
        "There is no `[listen.NAME]`, so no request could ever arrive. The least is an address: \
        [listen.http] with address = \"[::]:8080\".";
    UNDEFINED = "C014", "reference to something that is not defined",
        "A route names an `[auth.NAME]`, a `[limit.NAME]` or an `[upstream.NAME]` that does not exist.";
    UNUSED = "C015", "defined and never used",
        "No route refers to this table. It costs nothing, but usually it was meant to protect something.";
    BAD_NAME = "C016", "not a name",
        "Names of tables are labels in logs and metrics: letters, digits, `-`, `_` and `.`, at most 64 of them.";
    EMPTY = "C017", "empty",
        "An empty text or an empty list where something is needed.";
    EQUAL_MATCHES = "C020", "two equal matches",
        "Two routes match the same requests and neither is more specific, so one of them would never be reached. Which \
        of them stands first in the file does not matter here.";
    BAD_MATCH = "C021", "not a match",
        "A match is `[METHODS ][host]/path`: \"GET,POST api.example.com/v1/users/{id}\", \"*.example.com/*\", \
        \"/healthz\". `/*` at the end matches whole segments, `{name}` one segment, `{name+}` all that remain.";
    NO_SCHEME = "C022", "upstream address without a scheme",
        "An upstream is a URL, because whether TLS is spoken must not be guessed: \"http://10.0.0.12:3001\".";
    BAD_TARGET = "C023", "not the URL of an upstream",
        "A target is `http://HOST[:PORT]` or `https://HOST[:PORT]` without path, query or user. Use `replace-prefix` \
        on the route to change the path.";
    SAME_ADDRESS = "C024", "two listeners on one address",
        "Two listeners cannot share address and port.";
    NOT_AN_ADDRESS = "C025", "not an address with a port",
        "A listener takes an IP address with a port. `[::]:443` is port 443 on all addresses, IPv4 included.";
    NOT_A_PREFIX = "C026", "not a network or address",
        "A network in CIDR notation (10.0.0.0/8, 2001:db8::/32) or a single address.";
    NOT_A_HEADER = "C027", "not a header field",
        "The name of a header field is a token (RFC 9110 §5.6.2); its value has no line breaks. Fields that belong to \
        the connection (Connection, Transfer-Encoding, Content-Length, …) cannot be set or removed.";
    BAD_ACCESS = "C028", "not an access rule",
        "Access rules are tried in order, the first that matches decides: \"allow 10.0.0.0/8\", \"deny all\".";
    UNREACHABLE_ACCESS = "C029", "access rule that is never reached",
        "Rules after `allow all` or `deny all` are never tried.";
    OPEN_ROUTE = "C030", "route without authentication",
        "Some authentication is defined, and this route asks for none. Write auth = \"none\" to say that this is meant.";
    LIMIT_WITHOUT_IDENTITY = "C032", "limit by an identity that the route does not establish",
        "The limit counts by user, consumer, key or claim, and the route authenticates nobody, or by `ja4`, and no \
        listener speaks TLS: it falls back to the client's address.";
    LITERAL_SECRET = "C033", "secret in the configuration",
        "A secret stands in the file itself, and so in backups and version control. Use \"${VARIABLE}\", \
        \"file:/path\" or \"cred:name\" (systemd LoadCredential=).";
    CLEARTEXT_KEYS = "C034", "keys fetched without TLS",
        "Whoever is on the way to the issuer can replace the keys, and then sign any token.";
    ALGORITHM_MISMATCH = "C035", "algorithm that does not fit the keys",
        "A symmetric algorithm (HS256, HS384, HS512) together with public keys lets anybody who knows the public key \
        sign tokens. The gateway refuses the combination.";
    BAD_ALGORITHM = "C036", "not an algorithm",
        "The algorithms are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 and HS512. \
        `none` is not one.";
    BAD_KEYS = "C037", "not keys",
        "`keys` of a JWT authentication is the URL of a JWKS, \"file:/path\" or \"cred:name\" of a PEM public key, a \
        JWK or a JWKS, or such a text itself, usually by \"${JWKS_PUBLIC_KEY}\".";
    BAD_KEY_HASH = "C038", "not the hash of an API key",
        "API keys are kept as hashes: \"sha256:\" and 64 hexadecimal digits. `portcullis key create` makes a key and \
        prints the line to paste.";
    SAME_KEY = "C039", "one API key under two ids",
        "Two entries have the same hash, so the key's owner could not be told.";
    NOT_A_DURATION = "C040", "not a duration",
        "A number with a unit: ms, s, m, h, d; also several, as in \"1h30m\".";
    NOT_A_RATE = "C041", "not a rate",
        "A number per unit of time: \"100/min\" with s, min, h or day; packets are counted per second (\"50k/s\"), \
        uploads in bytes per second (\"500B/s\"), bandwidths in bits per second (\"1Gbit/s\").";
    NOT_A_SIZE = "C042", "not a size",
        "A number with a unit: B, kB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024).";
    NOT_A_BAN_RULE = "C043", "not a ban rule",
        "A number of denials and a time: \"20 denials in 10s\". Or the CPU time that refusals cost: \"500ms cpu in 10s\".";
    UNIT_MISSING = "C045", "number without a unit",
        "A bare number would have to be guessed at: seconds or milliseconds, bytes or kilobytes.";
    BAD_CERTIFICATE = "C050", "certificate or key not usable",
        "The file is not PEM, holds no certificate or no private key, or holds a kind that cannot be used.";
    KEY_MISMATCH = "C051", "certificate and key do not belong together",
        "The private key is not the one whose public half is in the certificate.";
    PROXY_WITHOUT_TRUST = "C053", "PROXY protocol without trusted proxies",
        "The PROXY protocol is believed only from `[gateway] trusted-proxies`; without any, every connection would be \
        read as an ordinary one.";
    NO_INTERFACE = "C054", "network interface not found",
        "There is no interface of this name now. The kernel stage cannot be attached to it at the start.";
    UNKNOWN_USER = "C055", "unknown user",
        "Admins, operators and viewers are user ids or names of users in /etc/passwd, groups (\"group:ops\", by number or \
        by name in /etc/group), or names in client certificates: \"dns:\", \"email:\", \"uri:\" and \"cn:\".";
    BAD_URL = "C056", "not a URL",
        "An absolute http or https URL with a host.";
    BAD_LOCATION = "C057", "not a place where an API key stands",
        "\"header:X-API-Key\", \"query:key\" or \"cookie:key\"; a bare name means a header.";
    BAD_LIMIT_KEY = "C058", "not something to count by",
        "A limit counts by \"user\", \"consumer\", \"key\", \"address\", \"host\", \"route\", \"claim:NAME\", \
        \"header:NAME\" or \"cookie:NAME\", or by an array of these together.";
    TOO_MANY = "C059", "too many",
        "There is a limit on how many of these there may be.";
    BAD_INCLUDE = "C060", "include that matches nothing",
        "No file matches the pattern. A `*` stands only in the last part of the path. `conf.d/*.toml` beside the main \
        file needs no include and may be empty.";
    NEEDS_RESTART = "C061", "change that needs a restart",
        "The gateway reloads almost everything while it runs. A few things are fixed at the start: how many workers \
        there are, where state, the admin socket, the operations listener and the pinned maps are, and which interfaces \
        the kernel stage is attached to. The rest of the new configuration is in force.";
    ADDRESS_UNAVAILABLE = "C062", "address that cannot be listened on",
        "A listener of the new configuration cannot be bound. Nothing was changed.";
    ADMIN_WITHOUT_CERTIFICATES = "C063", "admin listener without client certificates",
        "Over its Unix socket the admin API knows from the kernel who calls. Over TCP nothing but a client certificate says \
        so, and whoever reaches the port without one could change everything. So `listen` and `tls` of `[admin]` stand \
        together, and `tls` names the CA of clients in `client-ca`. For one machine the socket is enough, also through \
        ssh: ssh -L /tmp/admin.sock:/run/portcullis/admin.sock HOST.";
    CLEARTEXT_LOG = "C070", "access log sent without TLS",
        "Whoever is on the way to the receiver can read who asked for what, and the token that the log is sent with.";
    BULK_WITHOUT_JSON = "C071", "bulk requests of lines that are not JSON",
        "Elasticsearch takes JSON objects only: `format` must be \"json\" or \"seed\", for the sink or in `[log]`.";
    BAD_TEMPLATE = "C080", "unknown placeholder",
        "A name in braces in a text that the gateway fills in is not one that it knows there. Braces around anything but \
        letters and `-` are text.";
    UNKNOWN_PARAMETER = "C081", "unknown path parameter",
        "A header or a limit names a parameter, which each `match` of the route must have: `{id}` in `/users/{id}`.";
    PACKET_BUDGET = "C082", "packet budget below what is permitted",
        "A client that keeps to every limit may send more packets than `packets` and `packet-burst` of `[shield]` \
        admit. The kernel would drop the rest: uploads would be slow, and no answer would say why. What the heaviest \
        client may send follows from `client-bandwidth`, the limits by address and the sizes of bodies; without \
        `client-bandwidth` only one upload at 1Gbit/s is looked at, and this is a warning. `portcullis budget suggest` \
        prints budgets that are large enough, and how they are derived.";
    SYN_BUDGET = "C083", "SYN budget below what is permitted",
        "A client that keeps to every limit may open more connections than `syns` and `syn-burst` of `[shield]` admit: \
        as many at once as `max-connections-per-address` says, and, where each route has a limit by address, a new one \
        for each request. The kernel would drop the rest, and each dropped SYN costs its client a second or more. \
        `portcullis budget suggest` prints budgets that are large enough.";
    SHARED_BOUNCER_KEY = "C084", "two lists with one key of CrowdSec's",
        "CrowdSec's local API remembers when each key asked last and tells what has changed since, once. Of two lists \
        with the same key either misses what the other one was told. `cscli bouncers add NAME` makes another key. The \
        same holds for other gateways and bouncers, which nothing here knows of.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_each_is_described() {
        for pair in ALL.windows(2) {
            assert!(pair[0].code < pair[1].code, "{:?} stands before {:?}", pair[0].code, pair[1].code);
        }
        for entry in ALL {
            assert!(entry.code.0.len() == 4 && entry.text.len() > 40, "{:?}", entry.code);
            assert!(!entry.text.contains("  "), "{:?} has a gap in its text", entry.code);
        }
    }

    #[test]
    fn a_code_is_found_as_people_type_it() {
        for typed in ["C014", "c014", "14", "C14"] {
            assert_eq!(find(typed).map(|entry| entry.code), Some(UNDEFINED), "{typed}");
        }
        assert!(find("C999").is_none() && find("GET").is_none());
    }
}
