"""A stand-in for Azure ML's tracking service: HTTPS on this machine, as azureml-mlflow's own client calls it."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SCOPE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
RUN, EXPERIMENT = "the-run", "the-experiment"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class TrackingService:
    """The service.

    Args:
        folder: where its certificate goes.
        refused: end of a path, such as ``runs/log-inputs`` → the HTTP status that every call of it gets.
        hangs: no call is answered at all.

    Attributes:
        calls: (end of the path, content) of each call that was answered with 200, in order.
        artifacts: name → content.
    """

    def __init__(self, folder: Path, *, refused: dict[str, int] | None = None, hangs: bool = False) -> None:
        self.refused, self.hangs = refused or {}, hangs
        self.calls: list[tuple[str, Any]] = []
        self.artifacts: dict[str, bytes] = {}
        self.certificate, key = certificate(folder)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.answer(self)

            do_POST = do_PUT = do_PATCH = do_GET  # names of the standard library

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> TrackingService:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What Azure ML sets for a job."""
        token = jwt.encode({"exp": int(time.time()) + 3600}, "k" * 32)
        return {
            "MLFLOW_TRACKING_URI": f"azureml://{self.host}/mlflow/v1.0{SCOPE}?",
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_RUN_ID": RUN,
            "AZUREML_RUN_ID": RUN,
            "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
            "MLFLOW_EXPERIMENT_ID": EXPERIMENT,
            "REQUESTS_CA_BUNDLE": str(self.certificate),
        }

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one HTTP request."""
        if self.hangs:
            time.sleep(120)
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        path = urlsplit(call.path).path
        end = "/".join(path.split("/")[-2:])
        code, answer = 200, {}
        if end in self.refused:
            code, answer = self.refused[end], {"error_code": "FEATURE_DISABLED", "message": f"{end} is not offered"}
        elif path.startswith("/account/"):
            self.artifacts[path.rpartition("/")[2]] = body
            code = 201
        else:
            content = (
                json.loads(body)
                if body
                else {key: texts[0] for key, texts in parse_qs(urlsplit(call.path).query).items()}
            )
            self.calls.append((end, content))
            answer = self._found(end, content)
        written = json.dumps(answer).encode()
        call.send_response(code)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(written)))
        call.end_headers()
        call.wfile.write(written)

    def _found(self, end: str, content: Any) -> dict[str, Any]:
        if end in ("runs/get", "runs/update"):
            uri = f"azureml://{self.host}/artifact/v2.0{SCOPE}/experiments/{EXPERIMENT}/runs/{RUN}/artifacts"
            info = {
                "run_id": RUN,
                "run_uuid": RUN,
                "experiment_id": EXPERIMENT,
                "status": "RUNNING",
                "artifact_uri": uri,
            }
            info |= {"lifecycle_stage": "active", "start_time": 0}
            return {"run_info": info, "run": {"info": info, "data": {}}}
        if end == "batch/metadata":
            names = [item["path"] for item in content["paths"]]
            places = {
                name: {"contentUri": f"https://{self.host}/account/runs/{name}?sig=x", "path": name} for name in names
            }
            return {"artifactContentInformation": places}
        return {}
