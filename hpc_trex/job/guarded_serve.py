"""``transformers serve`` behind a key: it has no key of its own, and a port of a compute node is open to all its users.

The server's application is wrapped where uvicorn takes it; everything else is the program itself.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]

KEY = "HPC_TREX_SERVE_KEY"
REFUSAL = b'{"error": {"message": "a key is needed", "type": "invalid_request_error", "code": "invalid_api_key"}}'


def guarded(app: App, key: str) -> App:
    """Return an ASGI application that answers 401 to every request without the key."""
    wanted = f"Bearer {key}".encode()

    async def call(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        given = dict(scope.get("headers") or []).get(b"authorization", b"")
        if hmac.compare_digest(given, wanted):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": kind})
            await send({"type": "http.response.body", "body": REFUSAL})

    return call


def main() -> None:
    """Run ``transformers`` with the arguments of this process."""
    key = os.environ.pop(KEY, "")
    if not key:
        raise SystemExit(f"{KEY} is not set")
    import uvicorn

    own = uvicorn.Config

    def config(app: Any, *given: Any, **named: Any) -> uvicorn.Config:
        return own(guarded(app, key), *given, **named)

    uvicorn.Config = config  # type: ignore[assignment,misc] # the one place where transformers hands its application over
    from transformers.cli.transformers import main as transformers

    transformers()


if __name__ == "__main__":
    main()
