//! A network behind source NAT: clients in a namespace of their own, all of whose packets leave a host under its one
//! address.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use gateway_userspace::demo::network::{Host, ip};

/// The clients behind a host that masquerades them; removed when dropped.
pub struct Router {
    /// Name of the namespace in which the clients are.
    pub inside: String,
    net: u8,
}

impl Router {
    /// Makes `count` clients behind a host, with the addresses 198.19.`net`.2 and following, where the host has
    /// 198.18.`net`.2.
    ///
    /// # Panics
    /// If there are more than 253, or if `ip` or `nft` fails.
    pub fn behind(host: &Host, count: u8) -> Router {
        let outside = &host.name;
        let router = Router { inside: format!("{outside}in"), net: host.address.octets()[2] };
        let inside = &router.inside;
        let (near, far) = (format!("{outside}2"), format!("{outside}3"));
        let gateway = Ipv4Addr::new(198, 19, router.net, 1);
        // What a run that was killed left is in the way.
        let _ = ip(&format!("netns del {inside}"));
        let mut steps = vec![
            format!("netns add {inside}"),
            format!("link add {near} netns {outside} type veth peer name {far} netns {inside}"),
            format!("-n {outside} address add {gateway}/24 dev {near}"),
            format!("-n {outside} link set {near} up"),
            format!("-n {inside} link set lo up"),
            format!("-n {inside} link set {far} up"),
        ];
        let clients = (0..count).map(|client| router.address(client));
        steps.extend(clients.map(|address| format!("-n {inside} address add {address}/24 dev {far}")));
        steps.push(format!("-n {inside} route add default via {gateway}"));
        steps.push(format!("netns exec {outside} sysctl -q -w net.ipv4.ip_forward=1"));
        for step in &steps {
            ip(step).unwrap_or_else(|error| panic!("{error}"));
        }
        let rules = format!(
            "add table ip nat\nadd chain ip nat out {{ type nat hook postrouting priority 100; }}\n\
             add rule ip nat out oifname {outside}1 masquerade\n"
        );
        let mut nft = Command::new("ip")
            .args(["netns", "exec", outside, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft runs; `cargo xtask test` installs it");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("nft reads its rules");
        assert!(nft.wait().is_ok_and(|status| status.success()), "nft takes the rules: {rules}");
        router
    }

    /// Address of a client, as it is behind the router.
    pub fn address(&self, client: u8) -> Ipv4Addr {
        let last = client.checked_add(2).filter(|last| *last < 255).expect("253 clients at most");
        Ipv4Addr::new(198, 19, self.net, last)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.inside));
    }
}
