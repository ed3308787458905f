//! The commands: what each is called, which role it needs, and whether it changes anything.
//!
//! A type is a command by its row in the one table below, so a new command does not compile before somebody has decided
//! who may call it.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::*;

/// What a caller may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Ban, lift, allow, and have the files read again.
    Operator,
    /// Change the configuration itself.
    Admin,
}

impl Role {
    /// As it is written in messages and in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One command: where it is, what it takes (`Self`), what it answers.
pub trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// Name, role, and whether it changes anything.
    const SIGNATURE: Signature;
    /// Name in the audit log and in `POST /v1/NAME`.
    const NAME: &'static str = Self::SIGNATURE.name;
    /// The answer.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// What is known of a command without calling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Name in the audit log and in `POST /v1/NAME`.
    pub name: &'static str,
    /// The least role that may call it.
    pub role: Role,
    /// Whether it changes anything: then it leaves an audit line.
    pub mutates: bool,
}

macro_rules! commands {
    ($($request:ty => $reply:ty, $name:literal, $role:ident, $what:ident;)*) => {
        $(impl Command for $request {
            const SIGNATURE: Signature =
                Signature { name: $name, role: Role::$role, mutates: commands!(@$what) };
            type Reply = $reply;
        })*

        /// Every command, in the order of the table.
        pub const COMMANDS: &[Signature] = &[$(<$request as Command>::SIGNATURE),*];
    };
    (@looks) => { false };
    (@changes) => { true };
}

commands! {
    GetStatus => Status, "status", Viewer, looks;
    GetTop => Top, "top", Viewer, looks;
    Explain => Explanation, "explain", Viewer, looks;
    ListBans => Bans, "bans", Viewer, looks;
    ListShadows => Shadows, "shadows", Viewer, looks;
    VerifyBans => Verification, "verify", Viewer, looks;
    BanPrefix => Changed, "ban", Operator, changes;
    Promote => Changed, "promote", Operator, changes;
    PromoteRule => Changed, "promote-rule", Admin, changes;
    Unban => Changed, "unban", Operator, changes;
    ListSuppressions => Suppressions, "suppressions", Viewer, looks;
    Unsuppress => Changed, "unsuppress", Operator, changes;
    GetOffender => Offender, "offender", Viewer, looks;
    ListAllowed => Allowed, "allowed", Viewer, looks;
    AllowPrefix => Changed, "allow", Operator, changes;
    ListDeny => DenyLists, "deny", Viewer, looks;
    ExportDeny => DenyExported, "deny-export", Viewer, looks;
    ImportDeny => DenyImported, "deny-import", Operator, changes;
    RemoveDeny => Changed, "deny-remove", Operator, changes;
    ListKeys => Keys, "keys", Viewer, looks;
    Reload => Reloaded, "reload", Operator, changes;
    Apply => Applied, "apply", Admin, changes;
    RollBack => Applied, "rollback", Admin, changes;
    GetHistory => History, "history", Viewer, looks;
    ShowHistory => Shown, "history-show", Viewer, looks;
    ListRoutes => Routes, "routes", Viewer, looks;
    GetTables => Tables, "config", Viewer, looks;
    SetTable => TableChanged, "config-set", Admin, changes;
    DeleteTable => TableChanged, "config-delete", Admin, changes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_only_look_can_change_nothing_and_no_two_commands_share_a_name() {
        for (index, command) in COMMANDS.iter().enumerate() {
            assert_eq!(command.mutates, command.role > Role::Viewer, "{}", command.name);
            assert!(COMMANDS[..index].iter().all(|other| other.name != command.name), "{}", command.name);
        }
    }
}
