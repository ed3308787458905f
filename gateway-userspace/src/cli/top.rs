//! `portcullis top`: routes and sources, redrawn each second.

use std::io::IsTerminal;
use std::time::Duration;

use crate::admin::api::{GetTop, Top};

use super::table::Table;
use super::{Common, Exit, Output};

/// Time between two frames.
const INTERVAL: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show one frame, of one second, and end.
    #[arg(long)]
    once: bool,
}

/// Draws until it is interrupted; once where the output is no terminal.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let once = arguments.once || common.json || !std::io::stdout().is_terminal();
    let mut last = match common.call(&GetTop {}) {
        Ok(frame) => frame,
        Err(error) => return output.refused(&error),
    };
    if !once {
        output.raw("\u{1b}[2J");
    }
    loop {
        std::thread::sleep(INTERVAL);
        let frame = match common.call(&GetTop {}) {
            Ok(frame) => frame,
            Err(error) => return output.refused(&error),
        };
        if once {
            output.answer(&frame, || text(&last, &frame));
            return Exit::Done;
        }
        // Home, the frame with each line cleared behind it, then clear what is below.
        let drawn = text(&last, &frame).replace('\n', "\u{1b}[K\n");
        output.raw(&format!("\u{1b}[H{drawn}\u{1b}[J"));
        last = frame;
    }
}

fn text(before: &Top, now: &Top) -> String {
    let seconds = (now.at_ms.saturating_sub(before.at_ms).max(1)) as f64 / 1000.0;
    let rate = |now: u64, before: u64| format!("{:.0}", now.saturating_sub(before) as f64 / seconds);
    let mut routes = Table::new(&["route", "req/s", "2xx/s", "3xx/s", "4xx/s", "5xx/s", "mean ms", "total"]);
    for route in &now.routes {
        let zero = Default::default();
        let earlier = before.routes.iter().find(|other| other.route == route.route);
        let (by_class, seconds_before) = earlier.map_or((zero, 0.0), |route| (route.by_class, route.seconds));
        let total: u64 = route.by_class.iter().sum();
        let requests = total.saturating_sub(by_class.iter().sum());
        let mean = match requests {
            0 => "-".to_owned(),
            _ => format!("{:.1}", (route.seconds - seconds_before).max(0.0) * 1000.0 / requests as f64),
        };
        let mut row = vec![route.route.clone(), rate(requests, 0)];
        row.extend((1..5).map(|class| rate(route.by_class[class], by_class[class])));
        row.extend([mean, total.to_string()]);
        routes.row(row);
    }
    let mut text = format!("{} connections open\n\n{}", now.connections, routes.text());
    let mut kernel = Table::new(&["kernel", "packets/s", "total"]);
    for counter in &now.kernel {
        let earlier = before.kernel.iter().find(|other| other.verdict == counter.verdict);
        let packets = rate(counter.packets, earlier.map_or(0, |counter| counter.packets));
        kernel.row([counter.verdict.clone(), packets, counter.packets.to_string()]);
    }
    let mut sources = Table::new(&["source", "denials", "dropped", "ban"]);
    for source in &now.sources {
        let ban = source.ban.map_or_else(|| "-".to_owned(), |ban| ban.to_string());
        sources.row([
            source.source.to_string(),
            format!("{:.1}", source.score),
            source.dropped.to_string(),
            ban,
        ]);
    }
    let mut shed = Table::new(&["over budget", "packets, about", "verdict"]);
    for source in &now.shed {
        shed.row([source.source.to_string(), source.packets_estimated.to_string(), source.reason.clone()]);
    }
    for table in [kernel, sources, shed].iter().filter(|table| !table.is_empty()) {
        text.push_str(&format!("\n{}", table.text()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{Counter, RouteTop, ShedSource};

    #[test]
    fn a_frame_shows_rates_since_the_one_before() {
        let frame = |at_ms, ok: u64, seconds, packets| Top {
            at_ms,
            routes: vec![RouteTop { route: "users".into(), by_class: [0, ok, 0, 2, 0], seconds }],
            kernel: vec![Counter { verdict: "drop".into(), packets }],
            sources: vec![],
            shed: vec![ShedSource {
                source: "192.0.2.7/32".parse().unwrap(),
                reason: "over_syns".into(),
                packets_estimated: 2048,
            }],
            connections: 3,
        };
        let text = text(&frame(1000, 10, 1.0, 5), &frame(3000, 110, 1.5, 25));
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[3], ["users", "50", "50", "0", "0", "0", "5.0", "112"]);
        assert_eq!(rows[6], ["drop", "10", "25"]);
        assert_eq!(rows[9], ["192.0.2.7/32", "2048", "over_syns"]);
    }
}
