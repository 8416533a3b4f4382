"""Clients and real servers for what curl and nginx do not speak; one role a run.

udp-echo NAME ADDRESS PORT      answer every datagram with "NAME " and its payload, from ADDRESS
udp-ask ADDRESS PORT COUNT SIZE COUNT datagrams of SIZE octets, each from a port of its own; prints
                                each answer's name (or "lost"), and fails on a wrong payload
tcp-hold ADDRESS PORT COUNT     COUNT connections one after the other; prints "open", "refused" or
                                "lost" for each, then keeps the open ones until it is killed
frames INTERFACE HEX...         sends whole Ethernet frames
"""

import socket
import sys
import time


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def say(text):
    print(text, flush=True)


def udp_echo(name, address, port):
    server = socket.socket(family(address), socket.SOCK_DGRAM)
    server.bind((address, int(port)))
    say("ready")
    while True:
        payload, client = server.recvfrom(65535)
        server.sendto(name.encode() + b" " + payload, client)


def udp_ask(address, port, count, size):
    for number in range(int(count)):
        client = socket.socket(family(address), socket.SOCK_DGRAM)
        client.settimeout(2)
        client.connect((address, int(port)))
        payload = (b"%d:" % number).ljust(int(size), b"x")
        client.send(payload)
        try:
            name, _, echoed = client.recv(65535).partition(b" ")
        except (TimeoutError, socket.timeout):
            say("lost")
            continue
        except ConnectionRefusedError:
            say("refused")
            continue
        if echoed != payload:
            sys.exit(f"datagram {number}: {len(payload)} octets sent, {len(echoed)} others came back")
        say(name.decode())


def tcp_hold(address, port, count):
    held = []
    for _ in range(int(count)):
        client = socket.socket(family(address), socket.SOCK_STREAM)
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


ROLES = {"udp-echo": udp_echo, "udp-ask": udp_ask, "tcp-hold": tcp_hold, "frames": frames}
ROLES[sys.argv[1]](*sys.argv[2:])
