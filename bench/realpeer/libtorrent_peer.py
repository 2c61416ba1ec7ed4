"""One libtorrent session with one torrent, for Causeway's tests and benchmarks.

Takes its options as one JSON object in argv[1], prints one JSON object per line,
and ends when its standard input does.
"""
import json
import select
import signal
import socket
import sys
import threading
import time

import libtorrent as lt


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def endpoint(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


o = json.loads(sys.argv[1])

# 0 forced, 1 enabled, 2 disabled (pe_forced, pe_enabled, pe_disabled)
policy = {"plain": 2, "prefer": 1, "require": 0}[o["encryption"]]
settings = {
    "listen_interfaces": ("[%s]:%d" if ":" in o["host"] else "%s:%d") % (o["host"], o["port"]),
    "alert_mask": lt.alert.category_t.error_notification
    | lt.alert.category_t.status_notification,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_lsd": False,
    "enable_dht": o["dht"],
    "dht_bootstrap_nodes": ",".join(o["dht_nodes"] or []),
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_enforce_node_id": False,
    "dht_prefer_verified_node_ids": False,
    "dht_ignore_dark_internet": False,
    "enable_incoming_utp": o["utp"],
    "enable_outgoing_utp": o["utp"],
    "enable_incoming_tcp": o["tcp"],
    "enable_outgoing_tcp": o["tcp"],
    "in_enc_policy": policy,
    "out_enc_policy": policy,
    "allowed_enc_level": 2 if policy == 0 else 3,  # pe_rc4, pe_both
    "prefer_rc4": policy != 2,
    "allow_multiple_connections_per_ip": True,
    "announce_to_all_trackers": True,
    "announce_to_all_tiers": True,
    "min_reconnect_time": 1,
    "peer_connect_timeout": 5,
    "stop_tracker_timeout": 1,
    "min_announce_interval": 1,  # that of the tracker decides, however short
}
session = lt.session(settings)
# session.wait_for_alert returns an alert that the session's own thread may be moving at
# that moment, which crashed one start in some hundred. This wakes us without one.
waker, waiting = socket.socketpair()
waker.setblocking(False)
session.set_alert_fd(waker.fileno())

if o["magnet"]:
    params = lt.parse_magnet_uri(o["magnet"])
else:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(o["torrent"])
params.save_path = o["dir"]
params.trackers = list(params.trackers) + (o["trackers"] or [])
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
params.flags |= lt.torrent_flags.disable_lsd
if o["seed"]:
    params.flags |= lt.torrent_flags.seed_mode
if not o["pex"]:
    params.flags |= lt.torrent_flags.disable_pex
if not o["dht"]:
    params.flags |= lt.torrent_flags.disable_dht

torrent = session.add_torrent(params)
if o["up_limit"]:
    torrent.set_upload_limit(o["up_limit"])
if o["down_limit"]:
    torrent.set_download_limit(o["down_limit"])
say("added", port=session.listen_port())
for peer in o["peers"] or []:
    torrent.connect_peer(endpoint(peer))


stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())


def until_alone():
    sys.stdin.buffer.read()
    stopping.set()


threading.Thread(target=until_alone, daemon=True).start()

STATUS_S = 0.1
# libtorrent announces to the DHT every 15 minutes; a node that has just started has
# nobody to announce to at first.
DHT_ANNOUNCE_S = 2
finished = False
said = None
announced = 0.0
while not stopping.is_set():
    if select.select([waiting], [], [], STATUS_S)[0]:
        waiting.recv(4096)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.torrent_finished_alert) and not finished:
            finished = True
            say("complete")
        elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert)):
            say("error", message=alert.message())
    s = torrent.status()
    fields = dict(progress=s.progress, downloaded=s.total_payload_download,
                  uploaded=s.total_payload_upload, peers=s.num_peers,
                  dht_nodes=session.status().dht_nodes if o["dht"] else 0)
    if fields != said:
        said = fields
        say("status", **fields)
    now = time.monotonic()
    if fields["dht_nodes"] and now - announced > DHT_ANNOUNCE_S:
        announced = now
        torrent.force_dht_announce()

# The session's end waits until the disk has everything.
del torrent
del session
