"""Azure's end of the wire: azure-ai-ml's own client code runs up to its last HTTP call, and this answers it.

Only what registering needs is here: the workspace's blob store, one registry, and resources that are stored as sent.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

ACCOUNT = "https://account.blob.core.windows.net"
REGISTRY = "contoso"
_THERE: dict[str, dict[str, Any]] = {
    "workspaces/workspace": {},
    "computes/cpu-cluster": {"computeType": "AmlCompute", "properties": {}},
}
_BLOB = re.compile(r"/(?P<container>[^/]+)/(?P<name>.+)")
_DATASTORE = {
    "id": "/datastores/workspaceblobstore",
    "name": "workspaceblobstore",
    "properties": {
        "datastoreType": "AzureBlob",
        "accountName": "account",
        "containerName": "container",
        "endpoint": "core.windows.net",
        "protocol": "https",
        "isDefault": True,
        "credentials": {"credentialsType": "Sas"},
    },
}


@dataclass
class Wire:
    """What was sent.

    Attributes:
        blobs: name of a blob → its content.
        metadata: name of a blob → its metadata.
        resources: path of a resource, such as ``environments/int8cal/versions/0.1.0`` → its properties.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(_THERE))

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """In place of `requests.adapters.HTTPAdapter.send`."""
        return adapter.build_response(request, self._answer(request))

    def _answer(self, request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        parts, body = urlsplit(str(request.url)), request.body
        method = str(request.method)
        body = body.read() if hasattr(body, "read") else body
        if isinstance(body, str):
            body = body.encode()
        if ".blob." in parts.netloc:
            return self._blob(method, unquote(parts.path), parse_qs(parts.query), body, request.headers)
        if "/discovery" in parts.path:
            endpoint = "https://registry.example/"
            details = {"primaryRegionResourceProviderUri": endpoint, "resourceGroup": "group", "subscriptionId": "sub"}
            return answer(200, {**details, "registryName": REGISTRY})
        if parts.path.endswith("/datastores/workspaceblobstore"):
            return answer(200, _DATASTORE)
        if parts.path.endswith("/listSecrets"):
            return answer(200, {"secretsType": "Sas", "sasToken": "sig=x"})
        if "/tempdatarefs/" in parts.path:
            reference = {"blobUri": f"{ACCOUNT}/registry", "credential": {"sasUri": f"{ACCOUNT}/registry?sig=x"}}
            return answer(200, {"blobReferenceForConsumption": reference})
        return self._resource(method, parts.path, body)

    def _blob(
        self, method: str, path: str, query: dict[str, list[str]], body: Any, headers: Mapping[str, str]
    ) -> urllib3.HTTPResponse:
        match = _BLOB.fullmatch(path)
        assert match, path
        name = match["name"]
        if method == "PUT" and "comp" in query:
            prefix = "x-ms-meta-"
            given = {key[len(prefix) :]: value for key, value in headers.items() if key.lower().startswith(prefix)}
            self.metadata[name] = given
            return answer(200)
        if method == "PUT":
            self.blobs[name] = bytes(body or b"")
            return answer(201)
        if method == "HEAD" and name in self.blobs:
            return answer(200, headers={f"x-ms-meta-{key}": text for key, text in self.metadata.get(name, {}).items()})
        return answer(404, headers={"x-ms-error-code": "BlobNotFound"})

    def _resource(self, method: str, path: str, body: Any) -> urllib3.HTTPResponse:
        match = re.search(r"/(\w+/[^/]+(?:/(?:versions|deployments)/[^/]+)?)$", path)
        assert match, f"{method} {path} is not expected"
        name = match[1]
        if method == "PUT":
            self.resources[name] = json.loads(body)["properties"]
        if name not in self.resources:
            return answer(404, {"error": {"code": "NotFound", "message": "not found"}})
        here = f"azureml:/{path[path.index('/registries/') :]}" if "/registries/" in path else path
        found = {"id": here, "name": path.rpartition("/")[2], "location": "eastus", "properties": self.resources[name]}
        return answer(200, found)


def answer(code: int, content: object = None, headers: dict[str, str] | None = None) -> urllib3.HTTPResponse:
    """An HTTP response, as it comes from a socket."""
    body = json.dumps(content).encode() if content is not None else b""
    kind = {"Content-Type": "application/json"} if content is not None else {}
    stamps = {"ETag": '"0x1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}
    every = {**stamps, "Content-Length": str(len(body)), **kind, **(headers or {})}
    return urllib3.HTTPResponse(io.BytesIO(body), every, code, reason=str(code), preload_content=False)


class Credential:
    """An account whose every token is good."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """What azure-identity would give."""
        import jwt
        from azure.core.credentials import AccessToken

        return AccessToken(jwt.encode({"tid": "tenant", "aud": "https://ml.azure.com"}, "k" * 32), 1 << 40)
