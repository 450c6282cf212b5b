"""A small Kubernetes API server over real HTTP: lists, watches and merge patches of Jobs and Pods, with versions.

It does what the API's documentation says of the few requests that the controller makes: label selectors by key, 409 for
a patch with an old version, ``null`` in a merge patch removes, a resumed Job gets a new start time, a watch is a stream
of JSON lines from a version on.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PATH = re.compile(r"/apis?/(?:batch/)?v1(?:/namespaces/([^/]+))?/(jobs|pods)(?:/([^/]+))?")


def stamp(wall_s):
    return datetime.fromtimestamp(int(wall_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(target, patch):
    """JSON Merge Patch, RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class KubeServer:
    def __init__(self):
        self.objects, self.version, self.patches = {}, 100, []
        self.changed = threading.Condition()
        self.events = []
        self.url = ""
        self.before_patch = None
        """Called once before the next patch is looked at: somebody else who is faster."""

    def add(self, kind, name, *, labels=None, annotations=None, created_s=None, namespace="lab", **spec):
        item = {
            "metadata": {
                "name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {},
                "creationTimestamp": stamp(created_s or time.time()),
            },
            "spec": spec,
            "status": {},
        }  # fmt: skip
        self._put((kind, namespace, name), item, "ADDED")

    def get(self, kind, name, namespace="lab"):
        return self.objects[kind, namespace, name]

    def notes(self, kind, name):
        annotations = self.get(kind, name)["metadata"].get("annotations", {})
        return {key.removeprefix("evenwatt.io/"): value for key, value in annotations.items()}

    def change(self, kind, name, patch, namespace="lab"):
        key = (kind, namespace, name)
        before = self.objects[key]
        after = merged(before, patch)
        if kind == "jobs" and before["spec"].get("suspend") and not after["spec"].get("suspend"):
            after["status"] = {**after["status"], "startTime": stamp(time.time())}
        self._put(key, after, "MODIFIED")
        return after

    def _put(self, key, item, event):
        with self.changed:
            self.version += 1
            item["metadata"] = {**item["metadata"], "resourceVersion": str(self.version)}
            self.objects[key] = item
            self.events.append((self.version, event, key, json.loads(json.dumps(item))))
            self.changed.notify_all()

    @contextmanager
    def serving(self):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(kube):  # noqa: C901  (one branch for each kind of request)
    class Handler(BaseHTTPRequestHandler):
        def _wanted(self, key, item, query):
            found = PATH.fullmatch(urlsplit(self.path).path)
            return (
                key[0] == found[2]
                and found[1] in {None, key[1]}
                and query.get("labelSelector", [""])[0] in {"", *item["metadata"]["labels"]}
            )

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            if "watch" in query:
                self._watch(query)
                return
            with kube.changed:
                items = [item for key, item in kube.objects.items() if self._wanted(key, item, query)]
                self._answer(200, {"items": items, "metadata": {"resourceVersion": str(kube.version)}})

        def _watch(self, query):
            since, until = int(query["resourceVersion"][0]), time.monotonic() + int(query["timeoutSeconds"][0])
            self.send_response(200)
            self.end_headers()
            while time.monotonic() < until:
                with kube.changed:
                    kube.changed.wait(0.05)
                    fresh = [event for event in kube.events if event[0] > since]
                for version, kind, key, item in fresh:
                    since = version
                    if self._wanted(key, item, query):
                        try:
                            self.wfile.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")
                        except OSError:
                            return

        def do_PATCH(self):
            patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Content-Type"] != "application/merge-patch+json":
                self._answer(415, {"message": "wrong type"})
                return
            faster, kube.before_patch = kube.before_patch, None
            if faster:
                faster()
            namespace, kind, name = PATH.fullmatch(urlsplit(self.path).path).groups()
            item = kube.objects.get((kind, namespace, name))
            version = patch.get("metadata", {}).get("resourceVersion")
            if item is None:
                self._answer(404, {"message": "gone"})
            elif version not in {None, item["metadata"]["resourceVersion"]}:
                self._answer(409, {"message": "the object has been modified"})
            else:
                kube.patches.append((name, patch))
                self._answer(200, kube.change(kind, name, patch, namespace))

        def _answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    return Handler
