"""WHIP and WHEP for aiortc: one POST, one DELETE, nothing of Lightstick's own client."""

import asyncio
import json
import sys
import urllib.request
from urllib.parse import urljoin

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

HTTP_TIMEOUT_SECS = 10


def say(**event):
    """Tells the test what happened: one JSON object a line."""
    print(json.dumps(event), flush=True)


def _request(method, url, body=None, token=None):
    headers = {"Content-Type": "application/sdp"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_SECS) as response:
        return response.status, response.headers, response.read()


def connection() -> RTCPeerConnection:
    """A connection without aiortc's default STUN server, which is on the internet."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def join(pc: RTCPeerConnection, url: str, token: str | None) -> str:
    """Offers, applies the answer, and returns the session's URL."""
    await pc.setLocalDescription(await pc.createOffer())
    offer = pc.localDescription.sdp.encode()
    status, headers, answer = await asyncio.to_thread(_request, "POST", url, offer, token)
    if status != 201:
        raise RuntimeError(f"POST {url}: {status}")
    await pc.setRemoteDescription(RTCSessionDescription(answer.decode(), "answer"))
    return urljoin(url, headers["Location"])


async def leave(pc: RTCPeerConnection, session: str):
    """Ends the session by DELETE, then the connection."""
    status, _, _ = await asyncio.to_thread(_request, "DELETE", session)
    await pc.close()
    say(event="left", status=status)


async def told_to_stop():
    """Returns once the test closes standard input."""
    await asyncio.to_thread(sys.stdin.read)
