//! Which role a caller has: `admins`, `operators` and `viewers` of `[admin]`, beside root and the gateway's own user.

use std::fmt;

use super::api::Role;
use super::certificate::Name;
use super::peer::Caller;

/// Somebody who is given a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user of this machine, by id.
    User(u32),
    /// Every user with this group, as its own or beside it, by id.
    Group(u32),
    /// Who has the key of a certificate with this name.
    Certificate(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(id) => write!(f, "{id}"),
            Subject::Group(id) => write!(f, "group:{id}"),
            Subject::Certificate(name) => name.fmt(f),
        }
    }
}

/// Who has which role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The gateway's own user, who may do everything, like root.
    own_uid: u32,
    grants: Vec<(Role, Subject)>,
}

impl Access {
    /// Root and the gateway's own user are admins, and whoever is named is what is named.
    pub fn new(grants: Vec<(Role, Subject)>) -> Access {
        Access { own_uid: rustix::process::geteuid().as_raw(), grants }
    }

    /// The highest role that a caller is given, by whatever name or group; none for a stranger.
    pub fn role(&self, caller: &Caller) -> Option<Role> {
        let is = |subject: &Subject| match (subject, caller) {
            (Subject::User(id), Caller::Process(process)) => process.uid == *id,
            (Subject::Group(id), Caller::Process(process)) => {
                process.gid == *id || process.groups.contains(id)
            }
            (Subject::Certificate(name), Caller::Certificate(holder)) => holder.names.contains(name),
            _ => false,
        };
        if let Caller::Process(process) = caller
            && (process.uid == 0 || process.uid == self.own_uid)
        {
            return Some(Role::Admin);
        }
        self.grants.iter().filter(|(_, subject)| is(subject)).map(|(role, _)| *role).max()
    }

    /// Whether users beside root and the gateway's own may connect to the socket at all.
    pub fn admits_others(&self) -> bool {
        self.grants.iter().any(|(_, subject)| !matches!(subject, Subject::Certificate(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Kind;
    use super::super::peer::{Holder, Process};
    use super::*;

    fn process(uid: u32, gid: u32, groups: &[u32]) -> Caller {
        Caller::Process(Process { uid, gid, pid: None, groups: groups.into() })
    }

    fn holder(names: &[(Kind, &str)]) -> Caller {
        let names = names.iter().map(|(kind, text)| Name { kind: *kind, text: (*text).into() }).collect();
        Caller::Certificate(Holder { names, address: "192.0.2.1:9".parse().unwrap() })
    }

    fn access() -> Access {
        let dns = Name { kind: Kind::Dns, text: "deploy.example.com".into() };
        let grants = vec![
            (Role::Operator, Subject::User(1000)),
            (Role::Viewer, Subject::User(1000)),
            (Role::Viewer, Subject::User(1001)),
            (Role::Operator, Subject::Group(27)),
            (Role::Admin, Subject::Certificate(dns)),
        ];
        Access { own_uid: 900, grants }
    }

    #[test]
    fn root_and_the_own_user_may_do_everything_the_named_what_is_named_and_nobody_else_anything() {
        for (uid, role) in [
            (0, Some(Role::Admin)),
            (900, Some(Role::Admin)),
            (1000, Some(Role::Operator)),
            (1001, Some(Role::Viewer)),
            (1002, None),
            (65_534, None),
            (u32::MAX, None),
        ] {
            assert_eq!(access().role(&process(uid, 5000, &[])), role, "{uid}");
        }
    }

    #[test]
    fn a_group_counts_whether_it_is_the_users_own_or_one_of_several_and_the_highest_role_holds() {
        assert_eq!(access().role(&process(1002, 27, &[])), Some(Role::Operator));
        assert_eq!(access().role(&process(1001, 5000, &[4, 27])), Some(Role::Operator));
        assert_eq!(access().role(&process(1002, 5000, &[4])), None);
    }

    #[test]
    fn the_name_of_a_certificate_counts_only_as_the_kind_of_name_that_it_is() {
        assert_eq!(access().role(&holder(&[(Kind::Dns, "deploy.example.com")])), Some(Role::Admin));
        assert_eq!(access().role(&holder(&[(Kind::CommonName, "deploy.example.com")])), None);
        assert_eq!(access().role(&holder(&[])), None);
        assert_eq!(access().role(&holder(&[(Kind::CommonName, "1000")])), None, "no user of this machine");
    }

    #[test]
    fn names_of_certificates_alone_do_not_open_the_socket() {
        assert!(access().admits_others());
        let remote = access().grants.split_off(4);
        assert!(!Access { own_uid: 900, grants: remote }.admits_others());
    }
}
