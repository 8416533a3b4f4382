"""Clients and real servers for what curl and nginx do not speak; one role a run.

udp-echo NAME ADDRESS PORT      answer every datagram with "NAME " and its payload, from ADDRESS
udp-ask ADDRESS PORT COUNT SIZE FIRST
                                COUNT datagrams of SIZE octets, from the ports FIRST, FIRST + 1, ...; prints
                                each answer's name (or "lost", "refused", an error's name), and fails on a wrong payload
udp-talk ADDRESS PORT COUNT SIZE FIRST GAP
                                the same, all from the port FIRST, GAP milliseconds apart
udp-pieces ADDRESS PORT SIZE INDEX,...
                                one datagram of SIZE octets as IP fragments of 1024, sent in this order (what
                                is not named is not sent); prints the same
udp-heads ADDRESS PORT COUNT    the first fragments of COUNT datagrams whose others never come
udp-flows ADDRESS SERVICES COUNT SECONDS
                                COUNT datagrams, each from an address and port of 198.18.0.0/15 of its own, evenly over
                                SECONDS and over the ports 1 to SERVICES of an IPv4 ADDRESS
udp-flood ADDRESS PORT COUNT SIZE
                                COUNT datagrams of SIZE octets from one port; prints the name of each error (an
                                ICMP error that came back is one)
udp-repeat ADDRESS PORT         answer the first datagram with it again ten times a second, until killed
sctp-answer ADDRESS PORT        answer INIT with INIT ACK and DATA with SACK, the kernel's SCTP not being needed
sctp-ask ADDRESS PORT           INIT, then DATA, from a raw socket; prints the types of the chunks that come back
sctp-echo ADDRESS PORT          return what a stream brings, by the kernel's SCTP
sctp-kernel [ADDRESS PORT]      "yes" where the kernel has SCTP, else its error; with ADDRESS, 1 MB there and back
tcp-hold ADDRESS PORT COUNT [FIRST]
                                COUNT connections one after the other, from the ports FIRST, FIRST + 1, ... where it is
                                given; prints "open", "refused" or "lost" for each, then keeps the open ones until it is
                                killed
frames INTERFACE HEX...         sends whole Ethernet frames
"""

import errno
import os
import socket
import struct
import sys
import time

PIECE = 1024


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def say(text):
    print(text, flush=True)


def octets(size, first):
    """No two parts of it are alike."""
    text = bytearray()
    number = int(first)
    while len(text) < size:
        text += b"%d." % number
        number += 1
    return bytes(text[:size])


def answer(client, payload):
    """What became of a datagram that was sent; the end where something else comes back."""
    try:
        name, _, echoed = client.recv(65535).partition(b" ")
    except socket.timeout:
        return "lost"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return errno.errorcode[error.errno]
    if echoed != payload:
        sys.exit(f"{len(payload)} octets sent, {len(echoed)} others came back")
    return name.decode()


def connected(address, port, local=0):
    client = socket.socket(family(address), socket.SOCK_DGRAM)
    client.bind(("", local))
    # Errors that may pass count too (Linux: IP_RECVERR, IPV6_RECVERR).
    level, option = (socket.IPPROTO_IP, 11) if client.family == socket.AF_INET else (socket.IPPROTO_IPV6, 25)
    client.setsockopt(level, option, 1)
    # Longer than it takes to find out that a neighbour is gone.
    client.settimeout(4)
    client.connect((address, int(port)))
    return client


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total or 0xFFFF


def udp_datagram(client, payload):
    """The UDP datagram that `client` would send, and its addresses."""
    source, destination = client.getsockname(), client.getpeername()
    ends = [socket.inet_pton(client.family, end[0]) for end in (source, destination)]
    length = 8 + len(payload)
    pseudo = b"".join(ends) + struct.pack("!II", length, socket.IPPROTO_UDP)
    ports = struct.pack("!HHH", source[1], destination[1], length)
    total = checksum(pseudo + ports + b"\0\0" + payload)
    return ports + struct.pack("!H", total) + payload, ends


def fragment(version, ends, identification, data, index):
    """One fragment with its IP header; IPv4's length and checksum are the kernel's to fill in."""
    offset = index * PIECE
    part = data[offset:offset + PIECE]
    more = offset + PIECE < len(data)
    if version == socket.AF_INET:
        place = offset // 8 | (0x2000 if more else 0)
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, 0, identification, place, 64, socket.IPPROTO_UDP, 0)
        return fixed + b"".join(ends) + part
    header = struct.pack("!BBHI", socket.IPPROTO_UDP, 0, offset | more, identification)
    fixed = struct.pack("!IHBB", 6 << 28, len(header) + len(part), socket.IPPROTO_FRAGMENT, 64)
    return fixed + b"".join(ends) + header + part


def send_pieces(wire, client, identification, payload, order):
    data, ends = udp_datagram(client, payload)
    for index in order:
        packet = fragment(client.family, ends, identification, data, index)
        wire.sendto(packet, (client.getpeername()[0], 0))


def udp_pieces(address, port, size, order):
    client = connected(address, port)
    wire = socket.socket(client.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    payload = octets(int(size), client.getsockname()[1])
    order = [int(index) for index in order.split(",")]
    send_pieces(wire, client, os.getpid() & 0xFFFF or 1, payload, order)
    say(answer(client, payload))


def udp_heads(address, port, count):
    client = connected(address, port)
    wire = socket.socket(client.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for number in range(int(count)):
        send_pieces(wire, client, 1 + number % 0xFFFF, bytes(3 * PIECE), [0])


def udp_flows(address, services, count, seconds):
    wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    services, count, begun = int(services), int(count), time.monotonic()
    to = socket.inet_pton(socket.AF_INET, address)
    for number in range(count):
        while time.monotonic() - begun < number * float(seconds) / count:
            time.sleep(0.0002)
        source = struct.pack("!I", 0xC6120000 + number // 50_000)
        fixed = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
        datagram = struct.pack("!HHHH", 10_000 + number % 50_000, 1 + number % services, 8, 0)
        wire.sendto(fixed + source + to + datagram, (address, 0))


def udp_flood(address, port, count, size):
    client = connected(address, port)
    for _ in range(int(count)):
        try:
            client.send(bytes(int(size)))
        except OSError as error:
            say(errno.errorcode[error.errno])
    time.sleep(0.2)
    late = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if late:
        say(errno.errorcode[late])


def udp_repeat(address, port):
    server = socket.socket(family(address), socket.SOCK_DGRAM)
    server.bind((address, int(port)))
    say("ready")
    payload, client = server.recvfrom(65535)
    while True:
        server.sendto(b"repeated " + payload, client)
        time.sleep(0.1)


def udp_echo(name, address, port):
    server = socket.socket(family(address), socket.SOCK_DGRAM)
    server.bind((address, int(port)))
    say("ready")
    while True:
        payload, client = server.recvfrom(65535)
        server.sendto(name.encode() + b" " + payload, client)


def udp_ask(address, port, count, size, first):
    for number in range(int(count)):
        client = connected(address, port, int(first) + number)
        payload = octets(int(size), number)
        client.send(payload)
        say(answer(client, payload))


def udp_talk(address, port, count, size, first, gap):
    client = connected(address, port, int(first))
    for number in range(int(count)):
        payload = octets(int(size), number)
        client.send(payload)
        said = answer(client, payload)
        say(said)
        # Who waits for an answer that is lost has waited.
        if said != "lost":
            time.sleep(float(gap) / 1000)


def crc32c(data):
    """RFC 9260 appendix A."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_packet(source, destination, tag, kind):
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, 7, 65536, 1, 1, 1)
    ports = struct.pack("!HHI", source, destination, tag)
    return ports + struct.pack("<I", crc32c(ports + bytes(4) + chunk)) + chunk


def sctp_receive(wire, port):
    """The next packet to `port`: sender, its port, tag and chunk type; the end where its checksum is wrong."""
    while True:
        packet, sender = wire.recvfrom(65535)
        if wire.family == socket.AF_INET:
            packet = packet[(packet[0] & 15) * 4:]
        source, destination, tag = struct.unpack("!HHI", packet[:8])
        if destination != port:
            continue
        if packet[8:12] != struct.pack("<I", crc32c(packet[:8] + bytes(4) + packet[12:])):
            sys.exit("a wrong checksum")
        return sender[0], source, tag, packet[12]


def sctp_answer(address, port):
    wire = socket.socket(family(address), socket.SOCK_RAW, 132)
    wire.bind((address, 0))
    say("ready")
    while True:
        client, source, tag, kind = sctp_receive(wire, int(port))
        answer = {1: 2, 0: 3}.get(kind)
        if answer is not None:
            wire.sendto(sctp_packet(int(port), source, tag or 7, answer), (client, 0))


def sctp_ask(address, port):
    wire = socket.socket(family(address), socket.SOCK_RAW, 132)
    wire.settimeout(4)
    for tag, kind in ((0, 1), (7, 0)):
        wire.sendto(sctp_packet(5000, int(port), tag, kind), (address, 0))
        sender, source, _, answer = sctp_receive(wire, 5000)
        if (sender, source) != (address, int(port)):
            sys.exit(f"an answer from {sender} {source}")
        say(answer)


def sctp_echo(address, port):
    server = socket.socket(family(address), socket.SOCK_STREAM, 132)
    server.bind((address, int(port)))
    server.listen()
    say("ready")
    while True:
        client, _ = server.accept()
        while data := client.recv(65535):
            client.sendall(data)


def sctp_kernel(address=None, port=0):
    try:
        client = socket.socket(family(address or ""), socket.SOCK_STREAM, 132)
    except OSError as error:
        return say(error.strerror)
    if address is None:
        return say("yes")
    client.settimeout(10)
    client.connect((address, int(port)))
    for round in range(100):
        sent, came = octets(10_000, round * 10_000), b""
        client.sendall(sent)
        while len(came) < len(sent):
            came += client.recv(65535)
        if came != sent:
            sys.exit("something else came back")
    say("yes")


def tcp_hold(address, port, count, first=None):
    held = []
    for number in range(int(count)):
        client = socket.socket(family(address), socket.SOCK_STREAM)
        if first:
            client.bind(("", int(first) + number))
        client.settimeout(2)
        try:
            client.connect((address, int(port)))
        except ConnectionRefusedError:
            say("refused")
        except OSError:
            say("lost")
        else:
            say("open")
            held.append(client)
    say("done")
    while True:
        time.sleep(3600)


def frames(interface, *texts):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((interface, 0))
    for text in texts:
        wire.send(bytes.fromhex(text))


ROLES = {
    "udp-echo": udp_echo,
    "udp-ask": udp_ask,
    "udp-talk": udp_talk,
    "udp-pieces": udp_pieces,
    "udp-heads": udp_heads,
    "udp-flows": udp_flows,
    "udp-flood": udp_flood,
    "udp-repeat": udp_repeat,
    "sctp-answer": sctp_answer,
    "sctp-ask": sctp_ask,
    "sctp-echo": sctp_echo,
    "sctp-kernel": sctp_kernel,
    "tcp-hold": tcp_hold,
    "frames": frames,
}
ROLES[sys.argv[1]](*sys.argv[2:])
