//! The program on its interfaces: attached at the start, watched from then on.
//!
//! Every link is pinned, so it holds without this process, and it is reused: the program behind it is
//! replaced in one step. Native mode (in the driver) is tried first, and the fall-back to generic mode (in
//! the network stack) is explicit, because the kernel does not fall back by itself when the driver has XDP
//! but not for this interface (a large MTU, LRO).
//!
//! Where libxdp has put other programs, the program takes a place among them ([`dispatcher`](super::dispatcher)).
//! Alone on an interface it has the link to itself, which is faster.
//!
//! An interface can disappear, and an operator can detach any link: nothing tells us, so the owner asks
//! [`Links::watch`] every second.

pub mod interface;
mod link;

use std::{collections::BTreeMap, os::fd::AsFd as _, path::PathBuf};

use super::{
    AttachMode, Error, Options,
    dispatcher::{self, Slot},
    load::Program,
    pins, syscall,
};
use interface::index_of;
use link::PinnedLink;

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a packet of the frame.
    Native,
    /// In the network stack, after it.
    Generic,
}

impl Mode {
    /// Name in lower case, as status, metrics and pins show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// How it is attached.
    pub mode: Mode,
    /// It stands in a dispatcher of libxdp, beside other programs, under this program id.
    pub shared: Option<u32>,
}

/// A configured interface on which nothing is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Name of the interface.
    pub interface: String,
    /// Why.
    pub because: String,
}

/// What has changed since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Attached again, or found to be.
    pub attached: Vec<Attachment>,
    /// Lost, or lost for another reason than before.
    pub lost: Vec<Lost>,
}

/// What keeps the program on an interface.
enum Hold {
    Link(PinnedLink),
    Slot(Box<Slot>),
}

impl Hold {
    fn attachment(&self) -> &Attachment {
        match self {
            Self::Link(link) => &link.attachment,
            Self::Slot(slot) => &slot.attachment,
        }
    }

    fn is_inherited(&self) -> bool {
        match self {
            Self::Link(link) => link.inherited,
            Self::Slot(slot) => slot.inherited,
        }
    }

    fn holds(&self, index: u32) -> bool {
        match self {
            Self::Link(link) => link.holds(index),
            Self::Slot(slot) => slot.holds(index),
        }
    }

    fn detach(self) -> Result<(), Error> {
        match self {
            Self::Link(link) => link.detach(),
            Self::Slot(slot) => slot.detach(),
        }
    }
}

/// The links of all configured interfaces.
pub struct Links {
    interfaces: Vec<String>,
    mode: AttachMode,
    pin_root: PathBuf,
    links: Vec<Hold>,
    /// [`Links::attach_all`] has succeeded: from then on it is watched over.
    begun: bool,
    /// Interfaces that were attached and are not, with the reason.
    lost: BTreeMap<String, String>,
}

impl Links {
    pub fn new(options: &Options) -> Self {
        Self {
            interfaces: options.interfaces.clone(),
            mode: options.mode,
            pin_root: options.pin_root.clone(),
            links: Vec::new(),
            begun: false,
            lost: BTreeMap::new(),
        }
    }

    /// Attaches to all interfaces, or to none: an error takes back the links that this call has made.
    pub fn attach_all(&mut self, program: &Program) -> Result<(), Error> {
        let mut missing = self.interfaces.clone();
        missing.retain(|name| !self.links.iter().any(|hold| hold.attachment().interface == *name));
        let mut made = Vec::new();
        for interface in missing {
            match self.attach(program, &interface) {
                Ok(link) => made.push(link),
                Err(error) => {
                    for link in made.into_iter().filter(|hold| !hold.is_inherited()) {
                        // The error that is returned is the one to act on.
                        let _ = link.detach();
                    }
                    return Err(error);
                }
            }
        }
        self.links.append(&mut made);
        self.begun = true;
        self.leave_others()
    }

    /// Detaches from interfaces that an earlier run was attached to and that are no longer on the list: packets
    /// would go on being dropped there, and no status would show it.
    fn leave_others(&self) -> Result<(), Error> {
        for (interface, pin) in pins::links(&self.pin_root) {
            if self.interfaces.contains(&interface) {
                continue;
            }
            if let Ok(link) = syscall::open_pin(&pin) {
                // It may have lost its interface already.
                let _ = syscall::link_detach(link.as_fd());
            }
            pins::remove(&pin)?;
        }
        for (interface, pin) in pins::shares(&self.pin_root) {
            if !self.interfaces.contains(&interface) {
                // An interface that is gone has taken its dispatcher with it.
                let index = index_of(&interface);
                index
                    .map_or_else(|| pins::remove(&pin), |index| dispatcher::leave(&interface, index, &pin))?;
            }
        }
        Ok(())
    }

    /// What the programs in dispatchers have said in words.
    pub fn drain_diagnostics(&mut self) -> Vec<String> {
        let slots = self.links.iter_mut().filter_map(|hold| match hold {
            Hold::Slot(slot) => Some(slot),
            Hold::Link(_) => None,
        });
        slots.flat_map(|slot| slot.diagnostics.drain()).collect()
    }

    /// Where it is attached, as far as the last look has seen.
    pub fn attachments(&self) -> Vec<Attachment> {
        let attachments = self.links.iter().map(Hold::attachment);
        attachments.filter(|at| !self.lost.contains_key(&at.interface)).cloned().collect()
    }

    /// Where it is not attached, although it should be, as far as the last look has seen.
    pub fn lost(&self) -> Vec<Lost> {
        let lost = self.lost.iter();
        lost.map(|(interface, because)| Lost { interface: interface.clone(), because: because.clone() })
            .collect()
    }

    /// Looks whether each link still holds, and attaches again where it does not. Nothing before the first
    /// [`Links::attach_all`].
    pub fn watch(&mut self, program: &Program) -> Changes {
        let mut changes = Changes::default();
        if !self.begun {
            return changes;
        }
        for interface in self.interfaces.clone() {
            let because = match self.look_at(program, &interface) {
                Ok(renewed) => {
                    let was_lost = self.lost.remove(&interface).is_some();
                    // Its link may have held all the while, as when the interface had another name.
                    let found = if was_lost { self.hold_of(&interface).map(Hold::attachment) } else { None };
                    changes.attached.extend(renewed.or_else(|| found.cloned()));
                    continue;
                }
                Err(Error::NoInterface { .. }) => String::from("the interface is gone"),
                Err(error) => with_causes(&error),
            };
            let known = self.lost.insert(interface.clone(), because.clone());
            if known.as_ref() != Some(&because) {
                changes.lost.push(Lost { interface, because });
            }
        }
        changes
    }

    /// The new attachment, if one had to be made.
    fn look_at(&mut self, program: &Program, interface: &str) -> Result<Option<Attachment>, Error> {
        if let (Some(index), Some(link)) = (index_of(interface), self.hold_of(interface))
            && link.holds(index)
        {
            return Ok(None);
        }
        let link = self.attach(program, interface)?;
        let attachment = link.attachment().clone();
        self.links.retain(|old| old.attachment().interface != interface);
        self.links.push(link);
        Ok(Some(attachment))
    }

    fn hold_of(&self, interface: &str) -> Option<&Hold> {
        self.links.iter().find(|hold| hold.attachment().interface == interface)
    }

    /// Detaches all; every link is tried before the first failure is returned.
    pub fn detach_all(&mut self) -> Result<(), Error> {
        self.lost.clear();
        self.links.drain(..).map(Hold::detach).fold(Ok(()), Result::and)
    }

    fn attach(&self, program: &Program, interface: &str) -> Result<Hold, Error> {
        let index = index_of(interface)
            .ok_or_else(|| Error::NoInterface { name: interface.into(), known: interface::names() })?;
        match PinnedLink::take_over_or_make(&self.pin_root, self.mode, program, interface, index) {
            Err(occupied @ Error::Occupied { .. }) => {
                let slot = Slot::join(program, &self.pin_root, interface, index)?;
                slot.map(|slot| Hold::Slot(Box::new(slot))).ok_or(occupied)
            }
            made => {
                let link = made?;
                // A dispatcher that we were in is gone.
                pins::remove(&pins::shared(&self.pin_root, interface))?;
                Ok(Hold::Link(link))
            }
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
