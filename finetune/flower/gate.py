"""The door to a SuperLink: TLS, and of its interfaces only the one that SuperNodes use.

A SuperLink serves everything on one port, also the interface by which apps are submitted, and
without accounts whoever reaches that may run code of their own on every device. So where other
machines can reach it, the SuperLink itself stays on loopback and this stands before it::

    python -m finetune.flower.gate HOST PORT LINK_PORT CERTIFICATE KEY LINK_CA

Built on Starlette, uvicorn and httpx, which come with Flower.
"""

import re
import ssl
import sys
from collections.abc import AsyncIterator, Iterable

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["make_gate"]

FLEET = re.compile(rb"/v1/fleet/[a-z0-9-]+")
MAX_BODY_BYTES = 64 << 20
"""Most bytes of a request; Flower sends large arrays in pieces of 20 MB."""
MAX_CONNECTIONS = 4096
TIMEOUT_S = 300.0
# Of one connection, not of the message: each side writes its own.
HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class TooLarge(Exception):
    """A request of more than `MAX_BODY_BYTES`."""


def make_gate(client: httpx.AsyncClient) -> Starlette:
    """Application that passes SuperNodes' requests on to a SuperLink, by a client of its."""

    async def forward(request: Request) -> Response:
        # Compared as it was sent, so that no other spelling of a path slips through.
        if not FLEET.fullmatch(request.scope["raw_path"]) or request.url.query:
            return PlainTextResponse("not found", 404)
        outgoing = client.build_request(
            "POST",
            request.url.path,
            headers=_kept(request.headers.items()),
            content=_body(request),
        )
        try:
            answer = await client.send(outgoing, stream=True)
        except TooLarge:
            return PlainTextResponse("request too large", 413)
        except httpx.TransportError:
            return PlainTextResponse("the SuperLink does not answer", 502)
        return StreamingResponse(
            answer.aiter_raw(),
            answer.status_code,
            _kept(answer.headers.items()),
            background=BackgroundTask(answer.aclose),
        )

    return Starlette(routes=[Route("/{path:path}", forward, methods=["POST"])])


async def _body(request: Request) -> AsyncIterator[bytes]:
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > MAX_BODY_BYTES:
            raise TooLarge
        yield piece


def _kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in HOP}


def main(
    host: str, port: int, link_port: int, certificate: str, key: str, link_ca: str
) -> None:
    """Serve until killed."""
    url = f"https://127.0.0.1:{link_port}"
    trust = ssl.create_default_context(cafile=link_ca)
    uvicorn.run(
        make_gate(httpx.AsyncClient(base_url=url, verify=trust, timeout=TIMEOUT_S)),
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        limit_concurrency=MAX_CONNECTIONS,
        log_level="warning",
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:7])
