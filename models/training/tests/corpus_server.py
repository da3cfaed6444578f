"""A server of files with ranges, whose connections break on demand."""

from __future__ import annotations

import hashlib
import http.server
import threading


class Files(http.server.ThreadingHTTPServer):
    """Serves bytes with ranges; cuts the connection after ``cut`` bytes of body as long as ``cuts`` are left."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.cut, self.cuts = 0, 0
        self.status = 0
        self.allowed: str | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        body = server.files.get(self.path.lstrip("/").partition("?")[0])
        if server.allowed and self.headers.get("Authorization") != server.allowed:
            self.send_error(401)
        elif server.status:
            self.send_error(server.status)
        elif body is None:
            self.send_error(404)
        else:
            self.send_range(body)

    def send_range(self, body: bytes) -> None:
        server = self.server
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        begin = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == etag:
            begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        rest = body[begin:]
        if server.cuts:
            server.cuts -= 1
            rest = rest[: server.cut]
        self.wfile.write(rest)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""
