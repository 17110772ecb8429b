"""nginx and HAProxy as doors: the same partners and contracts out of maps, a limit, a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bench.gateway_world import PARTNERS, Caller, pairs, party_of


def _write_maps(caller: Caller, folder: Path) -> None:
    """The same partners and contracts, as text maps. The one caller's key is its token."""
    names = {party_of(n): f"key-{n:05d}" for n in range(PARTNERS)}
    names[caller.party] = caller.token
    contracts = list(enumerate(pairs()))
    write = {
        "keys.nginx": [f'"Bearer {key}" "{party}";' for party, key in names.items()],
        "contracts.nginx": [f'"{party}:{name}" "C-{n:06d}";' for n, (party, name) in contracts],
        "keys.haproxy": [f"{key} {party}" for party, key in names.items()],
        "contracts.haproxy": [f"{party}:{name} C-{n:06d}" for n, (party, name) in contracts],
    }
    for name, lines in write.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def _nginx(caller: Caller, folder: Path, port: int, upstream: int) -> list[str]:
    _write_maps(caller, folder)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A proxy_set_header inside the location drops inherited ones, so all stand together.
    (folder / "nginx.conf").write_text(
        f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
{temporary}
keepalive_requests 1000000; map_hash_max_size 262144; map_hash_bucket_size 1024;
map $http_authorization $partner {{ default ""; include {folder}/keys.nginx; }}
map "$partner:$service" $contract {{ default ""; include {folder}/contracts.nginx; }}
limit_req_zone $contract zone=contracts:10m rate=1000000r/s;
log_format meter '$msec $partner $service $contract $status $request_time $bytes_sent $request_id';
access_log {folder}/meter.log meter buffer=64k flush=1s;
upstream partner {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
server {{ listen 127.0.0.1:{port}; set $service "";
 location ~ ^/services/(?<name>[a-z0-9-]+)(?<rest>/.*)$ {{ set $service $name;
  if ($partner = "") {{ return 401; }} if ($contract = "") {{ return 403; }}
  limit_req zone=contracts burst=1000 nodelay;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Authorization "";
  proxy_set_header X-Contract-Id $contract; proxy_set_header X-Caller-Party $partner;
  proxy_set_header X-Request-Id $request_id; proxy_pass http://partner$rest$is_args$args; }} }} }}
"""
    )
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def _haproxy(caller: Caller, folder: Path, port: int, upstream: int) -> list[str]:
    _write_maps(caller, folder)
    (folder / "haproxy.cfg").write_text(
        f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    http-reuse always
backend limits
    stick-table type string len 16 size 100k expire 10s store http_req_rate(1s),http_req_cnt
frontend door
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-var(txn.key) req.hdr(authorization),word(2,' ')
    http-request set-var(txn.partner) var(txn.key),map_str({folder}/keys.haproxy)
    http-request return status 401 unless {{ var(txn.partner) -m found }}
    http-request set-var(txn.service) path,field(3,/)
    http-request set-var(txn.pair) var(txn.partner),concat(:,txn.service)
    http-request set-var(txn.contract) var(txn.pair),map_str({folder}/contracts.haproxy)
    http-request return status 403 unless {{ var(txn.contract) -m found }}
    http-request track-sc0 var(txn.contract) table limits
    http-request return status 429 if {{ sc0_http_req_rate gt 1000000 }}
    http-request del-header authorization
    http-request set-header X-Contract-Id %[var(txn.contract)]
    http-request set-header X-Caller-Party %[var(txn.partner)]
    http-request replace-path /services/[^/]*(/.*) \\1
    default_backend partner
backend partner
    server one 127.0.0.1:{upstream}
"""
    )
    return ["haproxy", "-f", str(folder / "haproxy.cfg"), "-db"]


PEERS: Mapping[str, Callable[[Caller, Path, int, int], list[str]]] = {
    "nginx maps + limit + log": _nginx,
    "HAProxy maps": _haproxy,
}
