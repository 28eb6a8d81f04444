"""An HTTP provider whose answers stand in the messages: a text `wa=422 sms=200` is answered with 422 under /wa.

`lost` reads the request and closes without an answer. Each request is a line `<ms> <path> <to> <ref>` in the log.
Use: http_sink.py LOG, prints the port it listens on.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.strip("/")
        with LOCK, open(sys.argv[1], "a", encoding="utf-8") as log:
            log.write(f"{int(time.time() * 1000)} {path} {message['to']} {message['ref']}\n")
        answers = dict(word.split("=") for word in message["text"].split())
        answer = answers.get(path, "500")
        if answer == "lost":
            self.close_connection = True
            return
        body = json.dumps({"id": f"{path}-{message['ref']}"}).encode()
        self.send_response(int(answer))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_address[1], flush=True)
server.serve_forever()
