//! Who is at the other end of the admin socket, as the kernel says it, and what that user may do.

use std::fmt;

use crate::config::history::Author;

/// A user's process, by `SO_PEERCRED`: what it was when it connected, and nothing that it could have made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, as seen from the gateway's namespace; none if it is in another one.
    pub pid: Option<i32>,
}

impl Caller {
    /// Whom the history of configurations names for a command: the user's number, and the name if `/etc/passwd` has
    /// one.
    pub fn author(&self, verb: &str) -> Author {
        let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| user_name(&users, self.uid));
        Author::new(name.map_or_else(|| self.to_string(), |name| format!("{self} ({name})")), verb)
    }
}

fn user_name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)
    }
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing.
    Stranger,
    /// Look.
    Viewer,
    /// Look and change.
    Operator,
}

/// Which user has which role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The gateway's own user, an operator like root.
    own_uid: u32,
    operators: Vec<u32>,
    viewers: Vec<u32>,
}

impl Access {
    /// Root and the gateway's own user are operators, and whoever is named beside them.
    pub fn new(operators: Vec<u32>, viewers: Vec<u32>) -> Access {
        Access { own_uid: rustix::process::geteuid().as_raw(), operators, viewers }
    }

    /// The role of a user.
    pub fn role(&self, uid: u32) -> Role {
        if uid == 0 || uid == self.own_uid || self.operators.contains(&uid) {
            Role::Operator
        } else if self.viewers.contains(&uid) {
            Role::Viewer
        } else {
            Role::Stranger
        }
    }

    /// Whether users beside root and the gateway's own may connect at all.
    pub fn admits_others(&self) -> bool {
        !self.operators.is_empty() || !self.viewers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_the_list_of_users() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\nalice:x:1000:1000::/srv/alice:/bin/sh\n";
        assert_eq!(user_name(users, 1000).as_deref(), Some("alice"));
        assert_eq!(user_name(users, 0).as_deref(), Some("root"));
        assert_eq!(user_name(users, 1001), None);
    }

    #[test]
    fn root_and_the_own_user_operate_the_named_do_what_they_may_and_nobody_else_does_anything() {
        let access = Access { own_uid: 900, operators: vec![1000], viewers: vec![1001, 1000] };
        for (uid, role) in [
            (0, Role::Operator),
            (900, Role::Operator),
            (1000, Role::Operator),
            (1001, Role::Viewer),
            (1002, Role::Stranger),
            (65_534, Role::Stranger),
            (u32::MAX, Role::Stranger),
        ] {
            assert_eq!(access.role(uid), role, "{uid}");
        }
    }
}
