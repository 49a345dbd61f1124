"""`pynetes apiserver`: the API server alone, with upstream's flags.

Without --etcd-servers it keeps its objects in SQLite under --data-dir, and without that in memory. Without certificates
it makes its own, under --cert-dir or --data-dir.
"""

import asyncio
import logging
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from pynetes.apiserver import app, workers
from pynetes.apiserver.config import GATES, Config
from pynetes.apiserver.idle_flags import IDLE
from pynetes.apiserver.nonresource import own_metrics
from pynetes.apiserver.server import TLS, NamedCertificate
from pynetes.apiserver.serving import serving_certificate, with_token_key
from pynetes.apiserver.workers import Worker
from pynetes.client.kubeconfig import KubeconfigError
from pynetes.component import config, logs, spans, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.metrics import REGISTRY
from pynetes.component.remedy import RemedyError
from pynetes.storage.backends import open_backend

#: Upstream's names of the versions of TLS.
OLDEST = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Flags → configuration → run."""
    given = config.parse(Config, argv, prog="pynetes apiserver", description=__doc__ or "", idle=IDLE)
    logs.setup("kube-apiserver", verbosity=given.v)
    try:
        gates = given.gates()
    except ValueError as error:
        print(f"error: --feature-gates: {error}; write NAME=true or NAME=false", file=sys.stderr)
        return 1
    if others := sorted(gates.keys() - set(GATES)):
        log.warning(logs.fact("feature gates that this server does not have change nothing", names=",".join(others)))
    try:
        tls = tls_of(given)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    if given.workers > 1:
        # Of certificates and keys that are made here, all workers need the same.
        made = with_token_key(replace(given, tls_cert_file=tls.certificate, tls_private_key_file=tls.key))
        return workers.run(made, lambda config, worker: tasks.run(lambda: run(config, tls, worker)))
    return tasks.run(lambda: run(given, tls))


def tls_of(given: Config) -> TLS:
    """The serving certificate and whose client certificates are looked at. Raises OSError."""
    certificate, key = given.tls_cert_file, given.tls_private_key_file
    if not certificate or not key:
        certificate, key = serving_certificate(given)
    cas = tuple(filter(None, (given.client_ca_file, given.requestheader_client_ca_file)))
    for path in (certificate, key, *cas):
        Path(path).open("rb").close()
    if given.tls_min_version not in OLDEST:
        raise RemedyError(f"--tls-min-version={given.tls_min_version} is not known", f"say {' or '.join(OLDEST)}")
    others, oldest = tuple(named(given.tls_sni_cert_key)), OLDEST[given.tls_min_version]
    return TLS(certificate=certificate, key=key, client_cas=cas, named=others, oldest=oldest)


def named(parts: Sequence[str]) -> Iterator[NamedCertificate]:
    """--tls-sni-cert-key, which was split at its commas: CERT, KEY[:NAME], further NAMEs."""
    rest = list(parts)
    while len(rest) > 1:
        certificate, (key, _, first) = rest.pop(0), rest.pop(0).partition(":")
        names = [first] if first else []
        # A name is no path; a further certificate is.
        while names and rest and not Path(rest[0]).exists():
            names.append(rest.pop(0))
        yield NamedCertificate(certificate, key, tuple(names))


async def run(given: Config, tls: TLS, worker: Worker | None = None) -> None:
    """Serve until cancelled."""
    if given.data_dir:
        Path(given.data_dir).mkdir(parents=True, exist_ok=True)
    given = with_token_key(given)
    async with AsyncExitStack() as stack:
        try:
            backend = open_backend(given)
            stack.push_async_callback(backend.close)
            exposition = worker.metrics if worker else own_metrics
            server = app.build(given, backend, SystemClock(), exposition=exposition)
        except (OSError, ValueError, KubeconfigError) as error:
            # All that is read here are flags and the files that they name.
            raise RemedyError(str(error), "correct the flag or the file that it names") from error
        if worker:
            await stack.enter_async_context(worker.telling(REGISTRY.text))
        async with app.running(server, tls=tls):
            if given.paths_socket:
                # Its HTTP library takes longer to import than all the rest: not before the API answers.
                from pynetes.component.serving import serve_paths

                await stack.enter_async_context(serve_paths(given.paths_socket, "kube-apiserver"))
            if given.tracing_config_file:
                from pynetes.rpc import otlp

                await stack.enter_async_context(otlp.exporting(spans.load(given.tracing_config_file), "kube-apiserver"))
            log.info(logs.fact("serving", address=given.bind_address, port=server.port))
            await asyncio.get_running_loop().create_future()
