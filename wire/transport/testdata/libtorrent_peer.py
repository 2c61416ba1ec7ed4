# A libtorrent session with one torrent on loopback, for libtorrent_test.go. It prints "port N"
# and connects to the peer it is given. It ends when its standard input does.
# Arguments: infohash in hexadecimal; out and in policy ("enabled", "forced" or "disabled");
# level ("plaintext", "rc4" or "both"); HOST:PORT of a peer or "-".
import sys
import libtorrent as lt

infohash, policy, level, peer = sys.argv[1:5]
policy = {"forced": 0, "enabled": 1, "disabled": 2}[policy]
ses = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "out_enc_policy": policy,
    "in_enc_policy": policy,
    "allowed_enc_level": {"plaintext": 1, "rc4": 2, "both": 3}[level],
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "allow_multiple_connections_per_ip": True,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
})
params = lt.parse_magnet_uri("magnet:?xt=urn:btih:" + infohash)
params.save_path = "/nonexistent"
# A torrent that starts paused refuses encrypted handshakes until resume() has taken effect.
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
torrent = ses.add_torrent(params)
print("port", ses.listen_port(), flush=True)
if peer != "-":
    host, port = peer.rsplit(":", 1)
    torrent.connect_peer((host, int(port)))
sys.stdin.read()
