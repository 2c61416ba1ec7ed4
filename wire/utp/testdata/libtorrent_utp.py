# A libtorrent session with one torrent on loopback that speaks uTP only, for libtorrent_test.go. It
# prints "port N" and connects to the peer it is given. It ends when its standard input does.
# Arguments: infohash in hexadecimal; HOST:PORT of a peer or "-".
import sys
import libtorrent as lt

infohash, peer = sys.argv[1:3]
ses = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "out_enc_policy": 2,  # disabled
    "in_enc_policy": 2,
    "enable_outgoing_tcp": False,
    "enable_incoming_tcp": False,
    "allow_multiple_connections_per_ip": True,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
})
params = lt.parse_magnet_uri("magnet:?xt=urn:btih:" + infohash)
params.save_path = "/nonexistent"
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
torrent = ses.add_torrent(params)
print("port", ses.listen_port(), flush=True)
if peer != "-":
    host, port = peer.rsplit(":", 1)
    torrent.connect_peer((host, int(port)))
sys.stdin.read()
