"""Serves the sandbox over HTTP on loopback: Google's paths, and `/sandbox/...` to inspect and control it.

Each answer is written in one buffer and Nagle's algorithm is off; without either, each call takes 44 ms.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from sandbox.apis import Apis, Call
from sandbox.cloudrun import CloudRun, DeployRequest
from sandbox.delivery import Delivering, Subscriber
from sandbox.deployment_apis import DeploymentApis
from sandbox.errors import ApiError, fail, stop_at_perimeter
from sandbox.faults import Effect, Fault, Faults
from sandbox.iam import read_policy, write_policy
from sandbox.logbuckets import LogBuckets
from sandbox.organization import Organization

_READER = "roles/artifactregistry.reader"
_faults = msgspec.json.Decoder(list[Fault])
_subscribers = msgspec.json.Decoder(list[Subscriber])
_deploys = msgspec.json.Decoder(DeployRequest)


def _counted(request: Request) -> str:
    """The method and path of a request; a look-up in a log view by its name too, as it needs another permission."""
    name = f"{request.method} {request.path}"
    if not request.path.endswith("/entries:list"):
        return name
    found = re.search(rb'"resourceNames":\s*\["([^"]*/views/[^"]*)"', request.get_data())
    return f"{name} {found[1].decode()}" if found else name


@dataclass
class Sandbox:
    """The running sandbox; a WSGI application."""

    organization: Organization
    faults: Faults = field(default_factory=lambda: Faults([]))
    delivering: Delivering = field(default_factory=Delivering)
    requests: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.apis = Apis(self.organization, self.delivering)
        self.cloud_run = CloudRun(self.organization)
        seed = self.organization.deployment
        self.deployment = DeploymentApis(seed, self.organization, self.delivering) if seed else None
        self.apis.buckets = LogBuckets(self.deployment, self.organization) if self.deployment else None
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        lost = False
        try:
            if request.path.startswith("/sandbox/"):
                answer = self._control(request)
            else:
                hits = self.faults.hit(request.method, request.path)
                with self._lock:
                    self.requests[_counted(request)] += 1
                lost = self._suffer(request, hits)
                answer = self._google(request)
            status, body = 200, answer
        except _Unanswered:
            return _hang_up(environ)
        except ApiError as error:
            status, body = error.code, error.body
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            status, body = 400, ApiError("INVALID_ARGUMENT", f"Invalid request: {error}").body
        if lost:
            return _hang_up(environ)
        response = Response(
            json.dumps(body, ensure_ascii=False), status, content_type="application/json; charset=UTF-8"
        )
        return response(environ, start_response)

    def _google(self, request: Request) -> dict[str, Any]:
        caller = request.headers.get("x-sandbox-caller")
        body = json.loads(request.get_data() or b"{}")
        call = Call(request.args.to_dict(), body, reason=request.headers.get("x-goog-request-reason"))
        if caller:
            call.caller = caller
        with self._lock:
            if self.deployment and (api := self.deployment.serves(request.path)):
                asked = request.args.to_dict(flat=False)
                return self.deployment.answer(api, request.method, request.path, asked, body)
            return self.apis.answer(request.method, request.path, call)

    def _suffer(self, request: Request, hits: list[Fault]) -> bool:
        """Apply the faults before the request; True if its answer is to be lost."""
        for fault in hits:
            match fault.effect:
                case Effect.LATENCY:
                    time.sleep(fault.seconds)
                case Effect.TIMEOUT:
                    time.sleep(fault.seconds)
                    raise _Unanswered
                case Effect.STATUS:
                    fail(fault.code, f"A fault of the sandbox: {fault.code}")
                case Effect.PERIMETER:
                    stop_at_perimeter()
                case Effect.RACING_WRITER:
                    self._race(request.path.partition(":")[0].removeprefix("/v1/"), fault.member)
        return any(fault.effect is Effect.LOST_ANSWER for fault in hits)

    def _race(self, name: str, member: str) -> None:
        with self._lock:
            if node := self.organization.nodes.get(name):
                policy = read_policy(node, 3)
                listed = [*policy.get("bindings", []), {"role": _READER, "members": [member]}]  # type: ignore[misc]
                write_policy(self.organization, node, {"version": 3, "bindings": listed, "etag": policy["etag"]}, None)

    def _control(self, request: Request) -> dict[str, Any]:
        """Serve the controls that Google Cloud does not have: policies, counters, faults, subscribers, deploys."""
        match request.method, request.path.removeprefix("/sandbox/"):
            case "GET", "state":
                with self._lock:
                    return {"policies": {name: node.policy for name, node in sorted(self.organization.nodes.items())}}
            case "GET", "requests":
                with self._lock:
                    return {"requests": dict(self.requests)}
            case "GET", "faults":
                return {"faults": msgspec.to_builtins(self.faults.rules)}
            case "PUT", "faults":
                self.faults.replace(_faults.decode(request.get_data()))
                return {}
            case "PUT", "subscribers":
                self.delivering.subscribers = _subscribers.decode(request.get_data())
                return {}
            case "GET", "deployment" if self.deployment:
                with self._lock:
                    return {"resources": self.deployment.resources}
            case "PUT", "deployment" if self.deployment:
                with self._lock:
                    self.deployment.change(json.loads(request.get_data()))
                return {}
            case "DELETE", "deployment" if self.deployment:
                with self._lock:
                    self.deployment.heal()
                return {}
            case "PUT", "deployment/env" if self.deployment:
                with self._lock:
                    self.deployment.tell(json.loads(request.get_data()))
                return {}
            case "GET", "deliveries":
                return {"deliveries": [asdict(delivery) for delivery in self.delivering.log]}
            case "POST", "drain":
                return {"drained": self.delivering.drain(float(request.args.get("timeout", "30")))}
            case "POST", "deploy":
                wanted = _deploys.decode(request.get_data())
                with self._lock:
                    outcome = self.cloud_run.deploy(wanted)
                    for entry in outcome.entries:
                        self.apis.write(entry)
                return {"lines": outcome.lines, "exit_code": outcome.exit_code, "entries": outcome.entries}
        raise ApiError("NOT_FOUND", f"The sandbox has no control {request.method} {request.path}")


class _Unanswered(Exception):
    """The sandbox closes the connection without an answer."""


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("a fault of the sandbox")


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log(self, *_: object, **__: object) -> None:
        """Print nothing: /sandbox/requests counts the requests."""


def listen(sandbox: Sandbox, port: int) -> BaseWSGIServer:
    """A server on loopback; port 0 takes a free port. Raises OSError if the port is in use."""
    return make_server("127.0.0.1", port, sandbox, threaded=True, request_handler=_Handler)
