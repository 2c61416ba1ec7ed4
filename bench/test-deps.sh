#!/bin/sh
# Installs the programs that interoperability tests run, as far as this machine
# allows. Never fails: what is missing is named, and the tests that need it are
# skipped (or fail, with CAUSEWAY_REQUIRE_PEERS=1).
cd "$(dirname "$0")/.." || exit 0

missing=
command -v aria2c >/dev/null || missing="$missing aria2"
command -v transmission-daemon >/dev/null || missing="$missing transmission-daemon"
command -v qbittorrent-nox >/dev/null || missing="$missing qbittorrent-nox"
command -v tshark >/dev/null || missing="$missing tshark"
command -v opentracker >/dev/null || missing="$missing opentracker"
/usr/bin/python3 -c 'import libtorrent' 2>/dev/null || missing="$missing python3-libtorrent"
command -v chromium >/dev/null || missing="$missing chromium"
command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
command -v ffmpeg >/dev/null || missing="$missing ffmpeg"
command -v mpv >/dev/null || missing="$missing mpv"
command -v cvlc >/dev/null || missing="$missing vlc-bin vlc-plugin-base"
command -v fusermount3 >/dev/null || missing="$missing fuse3"
command -v getfattr >/dev/null || missing="$missing attr"
command -v rsync >/dev/null || missing="$missing rsync"
command -v rclone >/dev/null || missing="$missing rclone"
command -v cadaver >/dev/null || missing="$missing cadaver"
command -v mount.davfs >/dev/null || missing="$missing davfs2"
command -v btfs >/dev/null || missing="$missing btfs"
command -v curl >/dev/null || missing="$missing curl"
command -v setpriv >/dev/null || missing="$missing util-linux"
command -v ip >/dev/null || missing="$missing iproute2"
command -v nft >/dev/null || missing="$missing nftables"
command -v miniupnpd >/dev/null || missing="$missing miniupnpd-nftables"
command -v turnserver >/dev/null || missing="$missing coturn"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev" # for go test -race
command -v bash >/dev/null && [ -e /usr/share/bash-completion/bash_completion ] || missing="$missing bash-completion"
command -v zsh >/dev/null || missing="$missing zsh"
command -v fish >/dev/null || missing="$missing fish"
command -v mandoc >/dev/null || missing="$missing mandoc"
command -v groff >/dev/null || missing="$missing groff-base"

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		# shellcheck disable=SC2086 # a list of words
		{ apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
			echo "test-deps: could not install:$missing"
	else
		echo "test-deps: not installed (Debian packages):$missing"
	fi
fi

for lock in $(git ls-files '*package-lock.json' 2>/dev/null); do
	dir=$(dirname "$lock")
	if command -v npm >/dev/null; then
		(cd "$dir" && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent; }) ||
			echo "test-deps: npm ci failed in $dir"
	else
		echo "test-deps: no npm for $dir"
	fi
done
exit 0
