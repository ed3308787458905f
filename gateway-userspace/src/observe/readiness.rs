//! Whether the gateway can do its work: the conditions behind `/readyz`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The conditions. All must hold; each is set by whoever knows.
#[derive(Debug, Default)]
pub struct Readiness {
    config: AtomicBool,
    listeners: AtomicBool,
    kernel: Mutex<Kernel>,
    draining: AtomicBool,
}

/// The state of the kernel stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kernel {
    /// Not yet known.
    #[default]
    Pending,
    /// The configuration asks for none.
    Off,
    /// Attached; the text says how, for instance `eth0 native`.
    Attached(Box<str>),
    /// Not attached, and the gateway goes on without it as it was told to; or attached, and not all bans fit in. The
    /// text says why.
    Degraded(Box<str>),
    /// Asked for and lost; the text says why.
    Lost(Box<str>),
}

/// What one condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// More about it, for people.
    pub detail: String,
}

impl Readiness {
    /// Nothing is ready yet.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// A configuration is in force.
    pub fn config_loaded(&self) {
        self.config.store(true, Ordering::Relaxed);
    }

    /// Every listener is bound and served.
    pub fn listeners_bound(&self) {
        self.listeners.store(true, Ordering::Relaxed);
    }

    /// The kernel stage is in this state.
    pub fn kernel(&self, state: Kernel) {
        *self.kernel.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The gateway takes its leave: load balancers should send no more.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Every condition.
    pub fn conditions(&self) -> [Condition; 4] {
        let simple = |name, holds: bool, otherwise: &str| Condition {
            name,
            holds,
            detail: if holds { String::from("ok") } else { otherwise.to_owned() },
        };
        let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (holds, detail) = match kernel {
            Kernel::Pending => (false, String::from("not attached yet")),
            Kernel::Off => (true, String::from("off")),
            Kernel::Attached(how) => (true, format!("attached: {how}")),
            Kernel::Degraded(why) => (true, format!("degraded: {why}")),
            Kernel::Lost(why) => (false, format!("lost: {why}")),
        };
        [
            simple("config", self.config.load(Ordering::Relaxed), "no configuration is in force"),
            simple("listeners", self.listeners.load(Ordering::Relaxed), "not every listener is bound"),
            Condition { name: "kernel", holds, detail },
            simple("serving", !self.draining.load(Ordering::Relaxed), "draining"),
        ]
    }

    /// Whether all hold.
    pub fn is_ready(&self) -> bool {
        self.conditions().iter().all(|condition| condition.holds)
    }

    /// The conditions as text, one on each line, in the form of Kubernetes' `/readyz?verbose`.
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        for Condition { name, holds, detail } in self.conditions() {
            let mark = if holds { '+' } else { '-' };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "[{mark}] {name}: {detail}");
        }
        text.push_str(if self.is_ready() { "ready\n" } else { "not ready\n" });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Readiness {
        let readiness = Readiness::new();
        readiness.config_loaded();
        readiness.listeners_bound();
        readiness.kernel(Kernel::Attached("eth0 native".into()));
        readiness
    }

    #[test]
    fn every_condition_is_needed() {
        assert!(!Readiness::new().is_ready());
        assert!(ready().is_ready());
        let draining = ready();
        draining.draining();
        assert!(!draining.is_ready());
    }

    #[test]
    fn a_gateway_without_kernel_stage_is_ready_only_if_that_is_known() {
        for (state, expected) in [
            (Kernel::Pending, false),
            (Kernel::Off, true),
            (Kernel::Degraded("no privilege".into()), true),
            (Kernel::Lost("interface eth0 is gone".into()), false),
        ] {
            let readiness = ready();
            readiness.kernel(state.clone());
            assert_eq!(readiness.is_ready(), expected, "{state:?}");
        }
        let degraded = ready();
        degraded.kernel(Kernel::Degraded("no privilege".into()));
        assert!(
            degraded.verbose().contains("[+] kernel: degraded: no privilege\n"),
            "{}",
            degraded.verbose()
        );
    }
}
