"""A token endpoint of OAuth 2.0 (client credentials) with unsigned tokens, as Kafka's own validator accepts them."""

import json
import time
from base64 import b64encode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

CLIENT_ID, CLIENT_SECRET = "mirakl-resync", "token-secret"


class TokenEndpoint:
    """Issues tokens for one principal, each of which lives for some seconds."""

    def __init__(self, principal: str, seconds: float) -> None:
        self.issued = 0
        self.refused = 0
        expected = f"Basic {b64encode(f'{CLIENT_ID}:{CLIENT_SECRET}'.encode()).decode()}"
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                if self.headers["authorization"] != expected:
                    endpoint.refused += 1
                    self.send_error(401)
                    return
                endpoint.issued += 1
                body = json.dumps(
                    {"access_token": _token(principal, seconds), "token_type": "Bearer", "expires_in": seconds}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _token(principal: str, seconds: float) -> str:
    now = time.time()
    claims = {"sub": principal, "iat": int(now), "exp": int(now + seconds)}
    return ".".join([_part({"alg": "none", "typ": "JWT"}), _part(claims), ""])


def _part(value: dict[str, object]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
