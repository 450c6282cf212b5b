"""An OpenTelemetry receiver: a real HTTP server that decodes what it is sent with the protocol's own package."""

from __future__ import annotations

import gzip
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE


class Receiver:
    """Answers with ``code`` and ``answer``; keeps each export as rows."""

    def __init__(self, port=0, tls=None):
        self.code, self.answer = 200, b""
        self.exports, self.headers, self.paths = [], [], []
        self.asked = 0
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Encoding"] == "gzip"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                outer.asked += 1
                outer.hold.wait(30)
                if outer.code == 200:
                    outer.exports.append(rows(ExportMetricsServiceRequest.FromString(gzip.decompress(body))))
                outer.headers.append(dict(self.headers))
                outer.paths.append(self.path)
                self.send_response(outer.code)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def latest(self):
        return self.exports[-1] if self.exports else Rows([])

    def close(self):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


class Rows(list):
    """Points of one export, each a dictionary."""

    def of(self, name, **wanted):
        return [
            row
            for row in self
            if row["name"] == name and all(row["at"].get(k.replace("__", ".")) == v for k, v in wanted.items())
        ]

    def value(self, name, **wanted):
        found = self.of(name, **wanted)
        return found[0]["value"] if len(found) == 1 else None


def rows(export):
    """Return every point with all that applies to it; check what holds for each."""
    found = Rows()
    for resource in export.resource_metrics:
        about = pairs(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                if kind == "sum":
                    assert data.is_monotonic
                    assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
                for point in data.data_points:
                    assert kind == "gauge" or 0 < point.start_time_unix_nano < point.time_unix_nano
                    found.append(
                        {
                            "name": metric.name, "unit": metric.unit, "kind": kind, "value": point.as_double,
                            "at": about | pairs(point.attributes), "start": point.start_time_unix_nano,
                            "schema": scope.schema_url,
                        }
                    )  # fmt: skip
    return found


def pairs(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
