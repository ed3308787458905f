//! The one slot that tells the running program what to do.

use aya::maps::{Array, MapData};
use gateway_common::{
    budget::Class,
    maps,
    settings::{
        ARMED, FEATURE_FLOWS, FEATURE_REPEATS, MANAGEMENT_PORTS_MAX, MODE_ENFORCE, MODE_OBSERVE, Settings,
    },
};

use super::{Budgets, Error, Options, budgets, clock, load::Maps, wire::Wire};

/// The settings in the kernel, with a copy of what was written last.
pub struct SettingsMap {
    map: Array<MapData, Wire<Settings>>,
    current: Settings,
}

impl SettingsMap {
    /// Writes the settings of the options. The hash keys and the filter mask of maps that were there before
    /// are kept: budgets and filter were filled by them. The SYN budget is armed.
    pub fn open(maps: &mut Maps, options: &Options) -> Result<Self, Error> {
        let ports = &options.management_ports;
        if ports.len() > MANAGEMENT_PORTS_MAX {
            return Err(Error::ManagementPorts { count: ports.len(), max: MANAGEMENT_PORTS_MAX });
        }
        let map: Array<MapData, Wire<Settings>> = maps.take_as(&maps::SETTINGS)?;
        let Wire(mut settings) =
            map.get(&0, 0).map_err(|error| Error::map("read", maps::SETTINGS.name, error))?;
        for class in settings.classes.iter_mut().filter(|class| class.key == [0, 0]) {
            class.key = secret()?;
        }
        settings.calm_until_ticks = ARMED;
        // The program reads it as zero (`packet::blurred`).
        settings.reserved = 0;
        settings.features = FEATURE_FLOWS | FEATURE_REPEATS;
        settings.tick_ns = clock::tick_ns();
        settings.mode = mode(options.enforce);
        settings.event_mask = (1 << options.event_sample_shift.min(31)) - 1;
        settings.management_ports = [0; MANAGEMENT_PORTS_MAX];
        settings.management_ports[..ports.len()].copy_from_slice(ports);
        budgets::apply(&options.budgets, &mut settings);
        let mut this = Self { map, current: settings };
        this.write(settings)?;
        Ok(this)
    }

    pub fn set_budgets(&mut self, budgets: &Budgets) -> Result<(), Error> {
        let mut settings = self.current;
        budgets::apply(budgets, &mut settings);
        self.write(settings)
    }

    pub fn set_enforcing(&mut self, enforce: bool) -> Result<(), Error> {
        self.write(Settings { mode: mode(enforce), ..self.current })
    }

    pub fn enforcing(&self) -> bool {
        self.current.mode == mode(true)
    }

    /// Whether there is a SYN budget.
    pub fn limits_syns(&self) -> bool {
        [Class::Syn4, Class::Syn6].iter().any(|class| self.current.classes[*class as usize].cost != 0)
    }

    /// Lets the SYN budget rest until a tick, [`ARMED`] for not at all.
    pub fn set_calm_until(&mut self, ticks: u64) -> Result<(), Error> {
        self.write(Settings { calm_until_ticks: ticks, ..self.current })
    }

    /// The tick until which the SYN budget rests.
    pub fn calm_until(&self) -> u64 {
        self.current.calm_until_ticks
    }

    /// One drop in this many becomes an event.
    pub fn drops_per_event(&self) -> u64 {
        u64::from(self.current.event_mask) + 1
    }

    /// Number of filter lines that the program uses.
    pub fn filter_lines(&self) -> u32 {
        self.current.filter_mask + 1
    }

    /// Makes the program use that many filter lines, a power of two.
    pub fn set_filter_lines(&mut self, lines: u32) -> Result<(), Error> {
        self.write(Settings { filter_mask: lines - 1, ..self.current })
    }

    /// Whether what is in the kernel is not what was written last.
    pub fn differ(&self) -> Result<bool, Error> {
        let Wire(found) =
            self.map.get(&0, 0).map_err(|error| Error::map("read", maps::SETTINGS.name, error))?;
        Ok(found != self.current)
    }

    /// Compares what is in the kernel with what was written last, and writes it again if it differs.
    pub fn read_back(&mut self) -> Result<bool, Error> {
        let differs = self.differ()?;
        if differs {
            self.write(self.current)?;
        }
        Ok(differs)
    }

    fn write(&mut self, settings: Settings) -> Result<(), Error> {
        self.map
            .set(0, Wire(settings), 0)
            .map_err(|error| Error::map("write", maps::SETTINGS.name, error))?;
        self.current = settings;
        Ok(())
    }
}

fn mode(enforce: bool) -> u32 {
    if enforce { MODE_ENFORCE } else { MODE_OBSERVE }
}

/// 128 bits from the kernel's generator. Not zero, which says "not drawn yet".
fn secret() -> Result<[u64; 2], Error> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Map {
        doing: "draw the hash key for",
        map: maps::SETTINGS.name,
        source: std::io::Error::other("no randomness"),
    })?;
    let number = u128::from_ne_bytes(bytes) | 1;
    Ok([number as u64, (number >> 64) as u64])
}
