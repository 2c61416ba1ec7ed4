# A libtorrent session on loopback, for libtorrent_test.go. It prints "port N", and then
# "peer HOST:PORT" for each peer of its one torrent that it tries.
# Arguments: infohash in hexadecimal; "dht" or "lsd"; for the DHT, HOST:PORT of a bootstrap
# node or "-".
# It ends when its standard input does.
import sys, threading, time
import libtorrent as lt

infohash, discovery, bootstrap = sys.argv[1:4]
ses = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": discovery == "dht",
    "dht_bootstrap_nodes": "" if bootstrap == "-" else bootstrap,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False,
    "dht_max_peers_reply": 100,
    "allow_multiple_connections_per_ip": True,
    "enable_lsd": discovery == "lsd",
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": lt.alert.category_t.all_categories,
})
print("port", ses.listen_port(), flush=True)

params = lt.parse_magnet_uri("magnet:?xt=urn:btih:" + infohash)
params.save_path = "/nonexistent"
torrent = ses.add_torrent(params)

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
last = 0
while not ended.is_set():
    ses.wait_for_alert(50)
    for a in ses.pop_alerts():
        if isinstance(a, (lt.peer_connect_alert, lt.peer_disconnected_alert, lt.peer_error_alert)):
            print("peer %s:%d" % a.ip, flush=True)
    if discovery == "dht" and time.time() - last > 1:
        torrent.force_dht_announce()
        last = time.time()
