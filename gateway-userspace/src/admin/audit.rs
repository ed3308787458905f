//! The audit log: one line for every change, and for every request of somebody who may not make it.
//!
//! Lines have the target `audit`, so `RUST_LOG=audit=info` shows nothing else. They say who (user, group and process of
//! this machine, or the certificate and its address), with which role, what was asked, and what came of it; of a change
//! of the configuration also what differs, as `portcullis diff` prints it, in which key material stands as a hash.

use super::api::Role;
use super::peer::Caller;
use super::problem::Problem;

/// Longest command, or path in place of one, in a line, in bytes.
const COMMAND_BYTES_MAX: usize = 256;
/// Longest request in a line, in bytes.
const REQUEST_BYTES_MAX: usize = 4096;

/// What was asked, and by whom.
pub struct Asked<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// With which role; none for a stranger.
    pub role: Option<Role>,
    /// The command's name, or the path where it is not one.
    pub command: &'a str,
    /// What it takes, as JSON without secrets.
    pub request: &'a str,
}

macro_rules! line {
    ($level:ident, $asked:expr, $message:literal $(, $field:ident = $value:expr)*) => {{
        let Asked { caller, role, command, request } = $asked;
        let (command, request) = (cut(command, COMMAND_BYTES_MAX), cut(request, REQUEST_BYTES_MAX));
        let (process, holder) = (caller.process(), caller.holder());
        tracing::$level!(
            target: "audit",
            uid = process.map(|process| process.uid),
            gid = process.map(|process| process.gid),
            pid = process.map(|process| process.pid.unwrap_or_default()),
            certificate = holder.map(|holder| tracing::field::display(holder.name())),
            address = holder.map(|holder| tracing::field::display(holder.address)),
            role = role.map_or("none", Role::name),
            command,
            request,
            $($field = $value,)*
            $message
        )
    }};
}

/// Somebody asked for what the role does not allow.
pub fn not_permitted(asked: &Asked<'_>) {
    line!(warn, asked, "not permitted");
}

/// A change was made; `changes` says what is different now, if the command knows.
pub fn done(asked: &Asked<'_>, changes: &[String]) {
    let diff = (!changes.is_empty()).then(|| in_one_line(changes));
    line!(info, asked, "done", diff = diff);
}

/// A change was not made, because it cannot be.
pub fn refused(asked: &Asked<'_>, problem: &Problem) {
    line!(info, asked, "refused", refused = &problem.detail);
}

/// What a stranger writes must not fill the disk.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Not more than a screen of it.
fn in_one_line(changes: &[String]) -> String {
    const CHANGES_MAX: usize = 40;
    let mut line = changes[..changes.len().min(CHANGES_MAX)].join("; ");
    if changes.len() > CHANGES_MAX {
        line.push_str(&format!("; and {} more", changes.len() - CHANGES_MAX));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!([cut("aé", 2), cut("aé", 3), cut("aé", 9), cut("", 2)], ["a", "aé", "aé", ""]);
    }
}
