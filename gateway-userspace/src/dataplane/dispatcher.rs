//! Sharing an interface: a place in the dispatcher that libxdp keeps there for several programs.
//!
//! An interface has one XDP program. Programs that were loaded through libxdp (`xdp-filter`, `xdp-loader`) stand
//! behind a dispatcher, a program that calls them one after the other; each replaces one of its functions
//! (`freplace`). Whoever adds or removes one makes a new dispatcher with the others in it and swaps it for the
//! old one, so that no packet passes by any of them. All who follow the protocol (lib/libxdp/protocol.org of
//! xdp-tools) can do so, and so do we; our own place survives their changes as theirs survive ours.
//!
//! The pins in libxdp's directory hold our place when this process is gone. A pin of our program in our own
//! directory tells the next process which place is ours.
//!
//! Limits: takes CAP_SYS_ADMIN and Linux 5.10; never a dispatcher for frames in several buffers, because our
//! program is not made for them: where the MTU needs one, the kernel refuses, and the old one stays.

mod config;
mod hook;
mod object;
mod pins;
mod problem;

use std::{
    cell::Cell,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::programs::{Extension, links::FdLink};

use self::{
    config::{PLACES, Terms},
    hook::{Dispatcher, Member},
};
use super::{
    Attachment, Error,
    diagnostics::Diagnostics,
    load::{Extended, Program},
    netlink,
    pins::{remove as remove_pin, shared},
    syscall,
};

pub use self::problem::Problem;

/// Before `xdp-filter` (10) and whoever has no wish (50): a banned packet costs the least, and no other program
/// can send it on its way first.
const PRIORITY: u32 = 5;
/// `XDP_PASS`: what we let pass, the next program judges.
const LEADS_ON: u32 = 1 << 2;
/// The others change a dispatcher now and then, not all the time.
const ATTEMPTS: usize = 10;

/// Our place in the dispatcher of an interface.
pub struct Slot {
    pub attachment: Attachment,
    /// It was there before this process.
    pub inherited: bool,
    /// What our program there says in words.
    pub diagnostics: Diagnostics,
    program: u32,
    dispatcher: Cell<u32>,
    pin: PathBuf,
}

/// One try.
enum Attempt<T> {
    Done(T),
    /// The dispatcher was changed by somebody else meanwhile.
    Again,
}

/// Who sits in a place of a new dispatcher.
enum Seat<'a> {
    Other(Member),
    Ours(&'a Program),
}

impl Slot {
    /// Joins the dispatcher of an interface, or renews our program in it. `None` if there is no dispatcher.
    ///
    /// # Errors
    /// [`Error::CannotShare`].
    pub fn join(
        program: &Program,
        pin_root: &Path,
        interface: &str,
        index: u32,
    ) -> Result<Option<Self>, Error> {
        let pin = shared(pin_root, interface);
        persist(|| join_once(program, &pin, interface, index))
            .map_err(|source| Error::CannotShare { interface: interface.into(), source: Box::new(source) })
    }

    /// Whether our program is still in the dispatcher of the interface with this index.
    pub fn holds(&self, index: u32) -> bool {
        let attached = netlink::program_of(index).ok().flatten().map(|on| on.program);
        if attached == Some(self.dispatcher.get()) {
            return index == self.attachment.index;
        }
        // Somebody has made a new dispatcher: with us in it?
        let now = find(index, self.program).ok().flatten();
        now.is_some_and(|dispatcher| {
            self.dispatcher.set(dispatcher);
            index == self.attachment.index
        })
    }

    /// Gives the place up; the others stay.
    pub fn detach(self) -> Result<(), Error> {
        leave(&self.attachment.interface, self.attachment.index, &self.pin)
    }
}

/// Gives up the place of the program that is pinned at `pin`, whoever has put it there.
pub fn leave(interface: &str, index: u32, pin: &Path) -> Result<(), Error> {
    if let Some(ours) = pinned(pin) {
        persist(|| leave_once(index, ours))
            .map_err(|source| Error::CannotShare { interface: interface.into(), source: Box::new(source) })?;
    }
    remove_pin(pin)
}

fn persist<T>(mut attempt: impl FnMut() -> Result<Attempt<T>, Problem>) -> Result<T, Problem> {
    for _ in 0..ATTEMPTS {
        if let Attempt::Done(done) = attempt()? {
            return Ok(done);
        }
    }
    Err(Problem::Busy)
}

fn join_once(
    program: &Program,
    pin: &Path,
    interface: &str,
    index: u32,
) -> Result<Attempt<Option<Slot>>, Problem> {
    let old = match look(index) {
        Ok(Some(old)) => old,
        // Without the privilege to look, it is a program like any other.
        Ok(None) | Err(Problem::Privilege) => return Ok(Attempt::Done(None)),
        Err(problem) => return Err(problem),
    };
    if old.config.is_device_bound() {
        return Err(Problem::DeviceBound);
    }
    let root = pins::root();
    let _lock = pins::lock(&root).map_err(Problem::system("lock the directory of libxdp's pins"))?;
    let Some(mut others) = members(&old, &root)? else { return Ok(Attempt::Again) };
    let ours = pinned(pin);
    let before = others.len();
    others.retain(|member| Some(member.id) != ours);
    let inherited = others.len() < before;
    if others.len() == PLACES {
        return Err(Problem::Full);
    }
    let place = others.iter().position(|other| other.terms.priority > PRIORITY).unwrap_or(others.len());
    let mut seats: Vec<Seat<'_>> = others.into_iter().map(Seat::Other).collect();
    seats.insert(place, Seat::Ours(program));

    let Attempt::Done(made) = exchange(&old, &root, seats)? else { return Ok(Attempt::Again) };
    let mut extended = made.ours.ok_or(Problem::Busy)?;
    let program = extended.id()?;
    let pinned = remove_pin(pin).and_then(|()| extended.pin(pin));
    pinned.map_err(|error| Problem::Own(Box::new(error)))?;
    let attachment = Attachment { interface: interface.into(), index, mode: old.mode, shared: Some(program) };
    Ok(Attempt::Done(Some(Slot {
        attachment,
        inherited,
        diagnostics: extended.diagnostics,
        program,
        dispatcher: Cell::new(made.dispatcher),
        pin: pin.into(),
    })))
}

fn leave_once(index: u32, ours: u32) -> Result<Attempt<()>, Problem> {
    let Some(old) = look(index)? else { return Ok(Attempt::Done(())) };
    let root = pins::root();
    let _lock = pins::lock(&root).map_err(Problem::system("lock the directory of libxdp's pins"))?;
    let Some(members) = members(&old, &root)? else { return Ok(Attempt::Again) };
    if members.iter().all(|member| member.id != ours) {
        return Ok(Attempt::Done(()));
    }
    let others: Vec<_> = members.into_iter().filter(|member| member.id != ours).map(Seat::Other).collect();
    Ok(match exchange(&old, &root, others)? {
        Attempt::Done(_) => Attempt::Done(()),
        Attempt::Again => Attempt::Again,
    })
}

/// A dispatcher that has taken the place of another.
struct Made {
    dispatcher: u32,
    ours: Option<Extended>,
}

/// Makes a dispatcher with these programs, and swaps it for the old one; with none, takes the old one off.
/// Whatever fails, the old one stays as it was.
fn exchange(old: &Dispatcher, root: &Path, seats: Vec<Seat<'_>>) -> Result<Attempt<Made>, Problem> {
    let retired = pins::directory(root, old.interface, old.id);
    if seats.is_empty() {
        let removed = netlink::replace(old.interface, old.mode, old.fd(), None);
        return swapped(removed, || {
            pins::remove(&retired);
            Made { dispatcher: 0, ours: None }
        });
    }
    let terms = seats.iter().map(|seat| match seat {
        Seat::Other(member) => member.terms,
        Seat::Ours(_) => Terms { leads_on: LEADS_ON, priority: PRIORITY, flags: 0 },
    });
    let fresh = object::load(&old.config.with(terms.collect()))?;
    let directory = pins::directory(root, old.interface, fresh.id);
    pins::make(&directory).map_err(Problem::system("make a directory for a dispatcher's pins"))?;
    let seated = seat_all(&fresh, &directory, seats).and_then(|ours| {
        let new = Some(fresh.program.as_fd());
        let swap = netlink::replace(old.interface, old.mode, old.fd(), new);
        swapped(swap, || Made { dispatcher: fresh.id, ours })
    });
    // The programs stay in the old dispatcher and in the new one until the pins of one of them go.
    pins::remove(if matches!(seated, Ok(Attempt::Done(_))) { &retired } else { &directory });
    seated
}

fn swapped<T>(swap: io::Result<()>, made: impl FnOnce() -> T) -> Result<Attempt<T>, Problem> {
    match swap {
        Ok(()) => Ok(Attempt::Done(made())),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Attempt::Again),
        Err(error) => Err(Problem::system("swap the dispatcher of the interface")(error)),
    }
}

/// Puts every program into its place and pins it there. Returns ours.
fn seat_all(
    fresh: &object::Fresh,
    directory: &Path,
    seats: Vec<Seat<'_>>,
) -> Result<Option<Extended>, Problem> {
    let alone = seats.len() == 1;
    let mut ours = None;
    for (place, seat) in seats.into_iter().enumerate() {
        // One program takes the place of the dispatcher itself, as libxdp has it.
        let function = if alone { String::from("xdp_dispatcher") } else { format!("prog{place}") };
        let pin = pins::program(directory, place);
        let link: FdLink = match seat {
            Seat::Other(member) => {
                let mut extension = Extension::from_pin(&member.pin)?;
                let link = extension.attach_to_program(&fresh.program, &function)?;
                extension.pin(pin)?;
                extension.take_link(link)?.into()
            }
            Seat::Ours(program) => {
                let mut extended = program.extend(&fresh.program, &function)?;
                extended.pin(&pin).map_err(|error| Problem::Own(Box::new(error)))?;
                let link = extended.attach()?;
                ours = Some(extended);
                link
            }
        };
        link.pin(pins::link(directory, place))?;
    }
    Ok(ours)
}

/// Id of the dispatcher on an interface that has this program in it.
fn find(index: u32, program: u32) -> Result<Option<u32>, Problem> {
    let Some(dispatcher) = look(index)? else { return Ok(None) };
    let root = pins::root();
    let _lock = pins::lock(&root).map_err(Problem::system("lock the directory of libxdp's pins"))?;
    let members = members(&dispatcher, &root)?.unwrap_or_default();
    Ok(members.iter().any(|member| member.id == program).then_some(dispatcher.id))
}

fn look(index: u32) -> Result<Option<Dispatcher>, Problem> {
    Dispatcher::on(index).map_err(Problem::system("look at the program of the interface"))
}

/// `None` if the pins are gone: somebody has just replaced the dispatcher.
fn members(dispatcher: &Dispatcher, root: &Path) -> Result<Option<Vec<Member>>, Problem> {
    match dispatcher.members(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        members => members.map(Some).map_err(Problem::system("open the pins of the dispatcher")),
    }
}

/// Id of the program that is pinned at a path.
pub fn pinned(pin: &Path) -> Option<u32> {
    let program = syscall::open_pin(pin).ok()?;
    Some(syscall::program_info(program.as_fd()).ok()?.id)
}
