"""Scrapes a torrent at a tracker by libtorrent, and prints its seeds and leeches."""
import sys
import tempfile
import time

import libtorrent as lt

torrent, tracker = sys.argv[1:]
session = lt.session({
    "listen_interfaces": "127.0.0.1:0", "alert_mask": lt.alert.category_t.tracker_notification,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "ssrf_mitigation": False,  # else it asks trackers on loopback for nothing but /announce
})
handle = session.add_torrent({
    "ti": lt.torrent_info(torrent), "save_path": tempfile.gettempdir(), "trackers": [tracker],
    "flags": lt.torrent_flags.paused,
})
handle.scrape_tracker()
end = time.monotonic() + 60
while time.monotonic() < end:
    session.wait_for_alert(100)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.scrape_reply_alert):
            print(alert.complete, alert.incomplete)
            sys.exit(0)
        if isinstance(alert, lt.scrape_failed_alert):
            sys.exit(alert.message())
sys.exit("no answer")
