"""A headless Chromium, and pages for it under an origin of their own."""

import contextlib
import http.server
import os
import shutil
import signal
import subprocess
import tempfile
import threading

from harness import DEADLINE, clean_environment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 6 * DEADLINE  # a browser starts slowly on a busy machine


class Pages:
    """A small HTTP server: page() at /, script(name) at /name.js, what is posted to take(path, body)."""

    def __init__(self):
        self.finished = threading.Event()
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, kind, text):
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the browser may have gone
                    self.wfile.write(body)

            def do_GET(self):
                if self.path == "/":
                    self.answer("text/html; charset=utf-8", pages.page())
                elif self.path == "/wait.js":  # the page is not loaded before all is done
                    pages.finished.wait(PATIENCE)
                    self.answer("text/javascript", "// done")
                elif self.path.endswith(".js"):
                    self.answer("text/javascript", pages.script(self.path[1:-3]))
                else:
                    self.answer("text/plain", "")

            def do_POST(self):
                pages.take(self.path, self.rfile.read(int(self.headers["Content-Length"] or 0)))
                self.answer("text/plain", "")

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.finished.set()
        self._server.shutdown()
        self._server.server_close()


def dump_dom(address, *flags):
    """What the page at `address` has become when it is loaded."""
    with tempfile.TemporaryDirectory(prefix="tidegate-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-default-apps", "--disable-extensions", "--disable-breakpad", "--disable-crash-reporter",
             "--disable-dev-shm-usage", "--no-proxy-server",
             f"--user-data-dir={profile}", f"--timeout={int(PATIENCE * 1000)}", "--dump-dom", *flags, address],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", env=clean_environment({"HOME": profile}), start_new_session=True,
        )
        try:
            out, errors = process.communicate(timeout=PATIENCE + DEADLINE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers, too
        assert process.returncode == 0, errors
        return out
