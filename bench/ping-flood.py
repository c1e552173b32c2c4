#!/usr/bin/env python3
"""Floods a chat with WebSocket pings and reads nothing, and says how much memory the server takes meanwhile.

    bench/ping-flood.py --port 8080 --pid "$(pidof lightstick)" [--connections 10] [--secs 30] [--room demo]
"""

import argparse
import socket
import threading
import time

PING = b"\x89\xfd\0\0\0\0" + b"x" * 125
BLOCK = PING * 200


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


class Flood:
    def __init__(self, args):
        self.args = args
        self.ends_at = time.monotonic() + args.secs
        self.lock = threading.Lock()
        self.sent = self.opened = self.refused = 0

    def add(self, **more):
        with self.lock:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)

    def goes_on(self):
        return time.monotonic() < self.ends_at

    def connect(self):
        peer = socket.create_connection(("127.0.0.1", self.args.port), timeout=3)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(
            f"GET /chat/{self.args.room} HTTP/1.1\r\nHost: 127.0.0.1:{self.args.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        return peer, b" 101" in peer.recv(200)[:20]

    def run(self):
        """Opens a connection whenever the one before is closed."""
        while self.goes_on():
            try:
                peer, upgraded = self.connect()
                with peer:
                    if not upgraded:
                        self.add(refused=1)
                        time.sleep(0.2)
                        continue
                    self.add(opened=1)
                    peer.settimeout(1)
                    while self.goes_on():
                        try:
                            self.add(sent=peer.send(BLOCK))
                        except TimeoutError:
                            continue
            except OSError:
                time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--pid", type=int, required=True, help="the server's process")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--secs", type=float, default=30)
    parser.add_argument("--room", default="demo")
    args = parser.parse_args()
    flood = Flood(args)
    before = peak = resident_mib(args.pid)
    threads = [threading.Thread(target=flood.run) for _ in range(args.connections)]
    for thread in threads:
        thread.start()
    while flood.goes_on():
        peak = max(peak, resident_mib(args.pid))
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    print(
        f"resident {before:.1f} MiB before, {peak:.1f} at the most, {resident_mib(args.pid):.1f} after; "
        f"{flood.sent / 1e6:.0f} MB of pings over {flood.opened} connections, {flood.refused} refused"
    )


if __name__ == "__main__":
    main()
