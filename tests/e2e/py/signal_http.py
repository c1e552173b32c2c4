"""WHIP and WHEP for Python clients: one POST, one DELETE, nothing of Lightstick's own client."""

import asyncio
import json
import sys
import time
import urllib.request
from urllib.parse import urljoin

HTTP_TIMEOUT_SECS = 10


def say(**event):
    """Tells the test what happened, and when: one JSON object a line, whole though threads speak at once."""
    sys.stdout.write(json.dumps({"at": time.time() * 1_000, **event}) + "\n")
    sys.stdout.flush()


def request(method, url, body=None, token=None):
    headers = {"Content-Type": "application/sdp"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_SECS) as response:
        return response.status, response.headers, response.read()


def post(url: str, offer: str, token: str | None) -> tuple[str, str]:
    """Posts an offer, and returns the session's URL and the answer."""
    say(event="posted")
    status, headers, answer = request("POST", url, offer.encode(), token)
    if status != 201:
        raise RuntimeError(f"POST {url}: {status}")
    return urljoin(url, headers["Location"]), answer.decode()


def delete(session: str):
    """Ends the session by DELETE."""
    status, _, _ = request("DELETE", session)
    say(event="left", status=status)


async def told_to_stop():
    """Returns once the test closes standard input."""
    await asyncio.to_thread(sys.stdin.read)
