"""What aiortc's publisher and viewer share."""

import asyncio

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from signal_http import delete, post, say

BUNDLE_POLICIES = [policy.value for policy in RTCBundlePolicy]


def connection(bundle: str) -> RTCPeerConnection:
    """A connection without aiortc's default STUN server, which is on the internet."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy(bundle)))
    pc.on("connectionstatechange", lambda: say(event="state", state=pc.connectionState))
    return pc


async def join(pc: RTCPeerConnection, url: str, token: str | None) -> str:
    """Offers, applies the answer, and returns the session's URL."""
    await pc.setLocalDescription(await pc.createOffer())
    session, answer = await asyncio.to_thread(post, url, pc.localDescription.sdp, token)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    say(event="joined", session=session)
    return session


async def leave(pc: RTCPeerConnection, session: str):
    """Ends the session by DELETE, then the connection."""
    await asyncio.to_thread(delete, session)
    await pc.close()
