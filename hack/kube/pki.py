"""Certificates of one cluster: an authority, the API server, and one identity per component."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kube.processes import run

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "3650"


@dataclass(frozen=True)
class Pki:
    """The keys and certificates below `folder`."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that all others are signed with."""
        return self.folder / "ca.crt"

    @property
    def token_verifier(self) -> Path:
        """The public key of service-account tokens."""
        return self.folder / "service-accounts.pub"

    def certificate(self, name: str) -> Path:
        """The certificate of that name."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key of that name."""
        return self.folder / f"{name}.key"

    def create(self, addresses: Sequence[str]) -> None:
        """Make the authority, the key of service-account tokens and the API server's certificate.

        Args:
            addresses: IP addresses that the API server is reached at.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        authority = ("-x509", "-days", _DAYS, "-subj", "/CN=edgetran-test")
        run("openssl", "req", *_KEY, *authority, "-keyout", self.key("ca"), "-out", self.authority)
        curve = ("-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        signer = self.key("service-accounts")
        run("openssl", "genpkey", *curve, "-out", signer)
        run("openssl", "pkey", "-in", signer, "-pubout", "-out", self.token_verifier)
        service = "kubernetes.default.svc.cluster.local"
        labels = service.split(".")
        names = ["localhost", *(".".join(labels[:count]) for count in (1, 2, 3, 5))]
        san = [f"IP:{address}" for address in addresses] + [f"DNS:{name}" for name in names]
        self.issue("apiserver", "kube-apiserver", alternative_names=san)

    def issue(
        self,
        name: str,
        user: str,
        groups: Sequence[str] = (),
        alternative_names: Sequence[str] = (),
    ) -> None:
        """Sign a certificate for `user`, who is a member of `groups`, unless it exists."""
        if self.certificate(name).exists():
            return
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        san = f"subjectAltName={','.join(alternative_names)}\n" if alternative_names else ""
        extensions.write_text(san)
        run("openssl", "req", *_KEY, "-subj", subject, "-keyout", self.key(name), "-out", request)
        run(
            *("openssl", "x509", "-req", "-in", request, "-out", self.certificate(name)),
            *("-CA", self.authority, "-CAkey", self.key("ca"), "-CAcreateserial"),
            *("-days", _DAYS, "-extfile", extensions),
        )

    def kubeconfig(self, name: str, server: str) -> str:
        """A kubeconfig with the identity `name`, whole in itself."""
        cluster = {"server": server, "certificate-authority-data": _base64(self.authority)}
        user = {
            "client-certificate-data": _base64(self.certificate(name)),
            "client-key-data": _base64(self.key(name)),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "edgetran-test",
            "clusters": [{"name": "edgetran-test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [
                {"name": "edgetran-test", "context": {"cluster": "edgetran-test", "user": name}}
            ],
        }
        return json.dumps(config, indent=1)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
