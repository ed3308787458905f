"""Sends one frame of each kind from a banned, an over-budget and a clean source, built by scapy.

    matrix.py INTERFACE NET

runs in a client host and sends over INTERFACE. Sources lie in 198.18.NET.0/24 and 2001:db8:NET::/48: .2 and site 2 are
banned, .3 and site 3 are clean, what follows is over a budget of BURST packets. Each frame has an Ethernet source of its
own, 02:0b:0c:00 and a number. Prints one line for each: NUMBER SOURCE KIND.
"""

import os
import socket
import sys
import tempfile
import time

# Nothing of the machine's own configuration is read, and nothing is left behind.
HOME = tempfile.TemporaryDirectory()
os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = HOME.name

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Solicit
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Raw

# Nobody's: the stack behind the tap ignores what is sent here.
NOBODY = "02:0b:0c:ff:ff:ff"
TARGET4, TARGET6 = "198.51.100.1", "2001:db8:ffff::1"
LATER = 185  # of a fragment: its offset in units of eight bytes
BURST = 64  # packets at once; more than there are kinds in a family


def kinds4(source):
    """Kinds of frames from an IPv4 source: what follows the addresses of Ethernet."""
    ip = IP(src=source, dst=TARGET4)
    segment = TCP(sport=40000, dport=443, flags="S")
    datagram = UDP(sport=40000, dport=9) / Raw(b"x" * 40)
    needed = ICMP(type=3, code=4, nexthopmtu=1280) / IP(src=TARGET4, dst=source) / segment
    request = UDP(sport=68, dport=67) / BOOTP(ciaddr=source) / DHCP(options=[("message-type", "request"), "end"])
    reply = UDP(sport=67, dport=68) / BOOTP(op=2) / DHCP(options=[("message-type", "ack"), "end"])
    return {
        "tcp syn": ip / segment,
        "tcp ack": ip / TCP(sport=40000, dport=443, flags="A"),
        "tcp rst": ip / TCP(sport=40000, dport=443, flags="R"),
        "tcp to a management port": ip / TCP(sport=40000, dport=22, flags="S"),
        "udp": ip / datagram,
        "udp to a management port": ip / UDP(sport=40000, dport=22),
        "udp from a port of dhcp": ip / UDP(sport=67, dport=9),
        "another protocol": IP(src=source, dst=TARGET4, proto=47) / Raw(b"\0" * 8),
        "icmp echo": ip / ICMP(type=8),
        "icmp unreachable": ip / ICMP(type=3, code=1) / IP(src=TARGET4, dst=source) / segment,
        "icmp fragmentation needed": ip / needed,
        "icmp source quench": ip / ICMP(type=4) / IP(src=TARGET4, dst=source) / segment,
        "icmp redirect": ip / ICMP(type=5) / IP(src=TARGET4, dst=source) / segment,
        "icmp time exceeded": ip / ICMP(type=11) / IP(src=TARGET4, dst=source) / segment,
        "dhcp discover": IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP()
        / DHCP(options=[("message-type", "discover"), "end"]),
        "dhcp request": ip / request,
        "dhcp reply": ip / reply,
        "arp request": ARP(op=1, hwsrc=NOBODY, psrc=source, pdst=TARGET4),
        "arp reply": ARP(op=2, hwsrc=NOBODY, psrc=source, pdst=TARGET4),
        "vlan tcp": Dot1Q(vlan=7) / ip / segment,
        "vlan arp": Dot1Q(vlan=7) / ARP(op=1, hwsrc=NOBODY, psrc=source, pdst=TARGET4),
        "vlan icmp fragmentation needed": Dot1Q(vlan=7) / ip / needed,
        "priority tag udp": Dot1Q(vlan=0, prio=5) / ip / datagram,
        "qinq tcp": Dot1AD(vlan=8) / Dot1Q(vlan=7) / ip / segment,
        "qinq dhcp request": Dot1AD(vlan=8) / Dot1Q(vlan=7) / ip / request,
        "two tags of 802.1q udp": Dot1Q(vlan=8) / Dot1Q(vlan=7) / ip / datagram,
        "three tags udp": Dot1AD(vlan=9) / Dot1Q(vlan=8) / Dot1Q(vlan=7) / ip / datagram,
        "options nop": IP(src=source, dst=TARGET4, options=[IPOption_NOP()] * 4) / segment,
        "options record route": IP(src=source, dst=TARGET4, options=[IPOption_RR(routers=["0.0.0.0"] * 9)])
        / datagram,
        "options time stamp icmp fragmentation needed": IP(
            src=source, dst=TARGET4, options=[IPOption_Timestamp(flg=0)]
        )
        / needed,
        "vlan options udp": Dot1Q(vlan=7) / IP(src=source, dst=TARGET4, options=[IPOption_NOP()] * 40) / datagram,
        "first fragment udp": IP(src=source, dst=TARGET4, flags="MF", id=7)
        / UDP(sport=40000, dport=9, len=1508)
        / Raw(b"x" * 1472),
        "later fragment udp": IP(src=source, dst=TARGET4, frag=LATER, proto=17, id=7) / Raw(b"x" * 20),
        "first fragment icmp fragmentation needed": IP(src=source, dst=TARGET4, flags="MF", id=8) / needed,
        "later fragment icmp": IP(src=source, dst=TARGET4, frag=LATER, proto=1, id=8) / Raw(bytes([3, 4]) * 10),
        "later fragment udp that looks like dhcp": IP(src=source, dst=TARGET4, frag=LATER, proto=17, id=9)
        / Raw(bytes(UDP(sport=68, dport=67, len=28, chksum=0)) + b"x" * 20),
    }


def kinds6(source):
    """The same of an IPv6 source."""
    ip = IPv6(src=source, dst=TARGET6)
    near = IPv6(src=source, dst=TARGET6, hlim=255)
    far = IPv6(src=source, dst=TARGET6, hlim=254)
    link_local = IPv6(src="fe80::b:c", dst="ff02::1", hlim=255)
    segment = TCP(sport=40000, dport=443, flags="S")
    datagram = UDP(sport=40000, dport=9) / Raw(b"x" * 40)
    quoted = IPv6(src=TARGET6, dst=source) / segment
    too_big = ICMPv6PacketTooBig(mtu=1280) / quoted
    hop_by_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
    destination = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])
    routing = IPv6ExtHdrRouting(addresses=["2001:db8:ffff::2"], type=4)
    chain = hop_by_hop / routing / destination
    solicitation = ICMPv6ND_NS(tgt=TARGET6)
    return {
        "tcp syn": ip / segment,
        "tcp ack": ip / TCP(sport=40000, dport=443, flags="A"),
        "tcp to a management port": ip / TCP(sport=40000, dport=22, flags="S"),
        "udp": ip / datagram,
        "another protocol": IPv6(src=source, dst=TARGET6, nh=47) / Raw(b"\0" * 8),
        "no next header": IPv6(src=source, dst=TARGET6, nh=59),
        "icmp echo": ip / ICMPv6EchoRequest(),
        "icmp unreachable": ip / ICMPv6DestUnreach() / quoted,
        "icmp packet too big": ip / too_big,
        "icmp time exceeded": ip / ICMPv6TimeExceeded() / quoted,
        "neighbour solicitation": near / solicitation,
        "neighbour advertisement": near / ICMPv6ND_NA(tgt=source),
        "router solicitation": near / ICMPv6ND_RS(),
        "router advertisement": near / ICMPv6ND_RA(),
        "redirect": near / ICMPv6ND_Redirect(tgt=TARGET6, dst=TARGET6),
        "neighbour solicitation from beyond the link": far / solicitation,
        "neighbour advertisement from beyond the link": far / ICMPv6ND_NA(tgt=source),
        "router solicitation from beyond the link": far / ICMPv6ND_RS(),
        "router advertisement from beyond the link": far / ICMPv6ND_RA(),
        "duplicate address detection": IPv6(src="::", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=source),
        "link-local neighbour advertisement": link_local / ICMPv6ND_NA(tgt="fe80::b:c"),
        "link-local router advertisement": link_local / ICMPv6ND_RA(),
        "link-local listener report": IPv6(src="fe80::b:c", dst="ff02::16", hlim=1) / hop_by_hop / ICMPv6MLReport2(),
        "listener report": IPv6(src=source, dst="ff02::16", hlim=1) / hop_by_hop / ICMPv6MLReport2(),
        "dhcp solicit": ip / UDP(sport=546, dport=547) / DHCP6_Solicit(),
        "dhcp reply": ip / UDP(sport=547, dport=546) / Raw(b"\7\0\0\1"),
        "link-local dhcp solicit": IPv6(src="fe80::b:c", dst="ff02::1:2")
        / UDP(sport=546, dport=547)
        / DHCP6_Solicit(),
        "hop-by-hop tcp": ip / hop_by_hop / segment,
        "routing tcp": ip / routing / segment,
        "destination udp": ip / destination / datagram,
        "authentication tcp": ip / AH(spi=1, seq=1, icv=b"\0" * 12) / segment,
        "chain tcp": ip / chain / segment,
        "chain tcp to a management port": ip / chain / TCP(sport=40000, dport=22, flags="S"),
        "hop-by-hop icmp packet too big": ip / hop_by_hop / too_big,
        "chain icmp packet too big": ip / chain / too_big,
        "destination neighbour solicitation": near / destination / solicitation,
        "first fragment udp": ip
        / IPv6ExtHdrFragment(offset=0, m=1, id=7, nh=17)
        / UDP(sport=40000, dport=9, len=1508)
        / Raw(b"x" * 1000),
        "later fragment udp": ip / IPv6ExtHdrFragment(offset=LATER, id=7, nh=17) / Raw(b"x" * 20),
        "first fragment icmp packet too big": ip / IPv6ExtHdrFragment(offset=0, m=1, id=8, nh=58) / too_big,
        "later fragment icmp": ip / IPv6ExtHdrFragment(offset=LATER, id=8, nh=58) / Raw(bytes([2, 0]) * 10),
        "chain first fragment udp": ip / chain / IPv6ExtHdrFragment(offset=0, m=1, id=9, nh=17) / datagram,
        "vlan tcp": Dot1Q(vlan=7) / ip / segment,
        "vlan icmp packet too big": Dot1Q(vlan=7) / ip / too_big,
        "vlan neighbour solicitation": Dot1Q(vlan=7) / near / solicitation,
        "qinq hop-by-hop tcp": Dot1AD(vlan=8) / Dot1Q(vlan=7) / ip / hop_by_hop / segment,
        "qinq chain icmp packet too big": Dot1AD(vlan=8) / Dot1Q(vlan=7) / ip / chain / too_big,
    }


def truncated4(source):
    """Frames that end too early: the bytes after the Ethernet header, or less."""
    whole = bytes(ether() / IP(src=source, dst=TARGET4) / TCP(sport=40000, dport=443, flags="S"))
    tagged = bytes(ether() / Dot1Q(vlan=7) / IP(src=source, dst=TARGET4) / UDP(sport=40000, dport=9))
    needed = bytes(ether() / IP(src=source, dst=TARGET4) / ICMP(type=3, code=4))
    return {
        "cut after ethernet": whole[:14],
        "cut before the source": whole[:26],
        "cut within the header": whole[:33],
        "cut after the header": whole[:34],
        "cut within the transport header": whole[:40],
        "cut after the flags": whole[:49],
        "cut within a tagged header": tagged[:37],
        "cut after a tagged header": tagged[:38],
        "cut icmp fragmentation needed": needed[:38],
    }


def truncated6(source):
    segment = IPv6ExtHdrHopByHop() / TCP(sport=40000, dport=443, flags="S")
    whole = bytes(ether() / IPv6(src=source, dst=TARGET6) / segment)
    too_big = bytes(ether() / IPv6(src=source, dst=TARGET6) / ICMPv6PacketTooBig())
    return {
        "cut before the source": whole[:22],
        "cut within the header": whole[:53],
        "cut after the header": whole[:54],
        "cut within an extension header": whole[:55],
        "cut after an extension header": whole[:62],
        "cut icmp packet too big": too_big[:58],
    }


def others():
    """Frames of no address."""
    return {
        "spanning tree": bytes(Dot3(dst=NOBODY) / LLC() / STP()),
        "lldp": bytes(ether(0x88CC) / Raw(b"\2\7\4" + b"\0" * 6)),
        "an unknown type": bytes(ether(0x88B5) / Raw(b"\0" * 46)),
    }


def ether(kind=None):
    return Ether(dst=NOBODY, src=NOBODY) if kind is None else Ether(dst=NOBODY, src=NOBODY, type=kind)


def frames(family, source):
    """Every kind of a family from a source, as bytes."""
    kinds, truncated = (kinds4, truncated4) if family == 4 else (kinds6, truncated6)
    whole = {name: bytes(ether() / packet) for name, packet in kinds(source).items()}
    return {f"ipv{family} {name}": frame for name, frame in (whole | truncated(source)).items()}


class Sender:
    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind((interface, 0))
        self.number = 0

    def send(self, frame, number=0):
        mark = bytes([2, 0x0B, 0x0C, 0]) + number.to_bytes(2, "big")
        self.socket.send(frame[:6] + mark + frame[12:])

    def send_all(self, source, frames):
        """Sends them, each with the next number; the lines that tell of them."""
        lines = []
        for kind, frame in frames.items():
            self.number += 1
            self.send(frame, self.number)
            lines.append(f"{self.number} {source} {kind}")
        return lines


def over_budget(sender, family, addresses):
    """What a source sends that has just spent its budget. A machine that is too slow gives it one more packet each second:
    then the next source begins anew."""
    for address in addresses:
        of = frames(family, address)
        spender = bytes(ether() / (IP if family == 4 else IPv6)(src=address) / UDP(sport=40000, dport=9))
        begun = time.monotonic()
        for _ in range(2 * BURST):
            sender.send(spender)
        lines = sender.send_all("over-budget", of)
        if time.monotonic() - begun < 0.5:
            return lines
    raise SystemExit("this machine is too slow")


def main():
    # One processor, one queue: what is sent later arrives later.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sender, net = Sender(sys.argv[1]), int(sys.argv[2])
    for family in (4, 6):
        at = (lambda site: f"198.18.{net}.{site}") if family == 4 else (lambda site: f"2001:db8:{net:x}:{site:x}::1")
        lines = sender.send_all("banned", frames(family, at(2)))
        lines += sender.send_all("clean", frames(family, at(3)))
        lines += over_budget(sender, family, map(at, range(4, 64)))
        print(*lines, sep="\n")
    print(*sender.send_all("clean", others()), sep="\n")


main()
