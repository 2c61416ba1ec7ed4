#!/bin/sh
# Shows `causeway share` on this machine alone: a page in headless Chromium, where there is
# one, opens the link and says what it got; else curl does. demo-share.sh PATH_OF_CAUSEWAY
set -eu

causeway=$(realpath "${1:-bin/causeway}")
dir=$(mktemp -d)
share=
cleanup() {
	[ -z "$share" ] || kill "$share" 2>/dev/null || true
	[ -z "$share" ] || wait "$share" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
# sent: page loads, and bytes that left over WebRTC and by HTTP, by the last such event
sent() {
	sed -n 's/.*"event":"viewers".*"loads":\([0-9]*\).*"sent":{"webrtc":\([0-9]*\),"http":\([0-9]*\)}.*/\1 \2 \3/p' "$dir/share.json" | tail -n 1
}
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

mkdir "$dir/Holiday"
# A minute of noise, as WAV: 8000 samples of 16 bits per second.
{
	printf 'RIFF\044\246\016\000WAVEfmt \020\000\000\000\001\000\001\000\100\037\000\000\200\076\000\000\002\000\020\000data\000\246\016\000'
	head -c 960000 "$causeway"
} >"$dir/Holiday/noise.wav"
echo 'Dear all, listen to this.' >"$dir/Holiday/letter.txt"

say "4. A folder is shared with whoever has a browser:"
echo "   causeway share Holiday"
: >"$dir/share.json"
"$causeway" share "$dir/Holiday" --listen 127.0.0.1 --http 127.0.0.1:0 --port 0 --no-dht --no-lsd --state "$dir/state" \
	--json >"$dir/share.json" 2>"$dir/share.log" &
share=$!
tries=0
until grep -q '"event":"seeding"' "$dir/share.json"; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 "$share" 2>/dev/null; then
		echo "the share did not start:" >&2
		cat "$dir/share.log" "$dir/share.json" >&2
		exit 1
	fi
	sleep 0.1
done
link=$(sed -n 's/.*"event":"serving".*"url":"\([^"]*\)".*/\1/p' "$dir/share.json" | head -n 1)
echo "   the link: $link"

browser=
for name in chromium chromium-browser google-chrome; do
	if command -v "$name" >/dev/null; then
		browser=$name
		break
	fi
done
if [ -n "$browser" ]; then
	say "5. $browser opens it, without a window, for a few seconds:"
	HOME=$dir timeout 12 "$browser" --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
		--allow-loopback-in-peer-connection --user-data-dir="$dir/profile" --remote-debugging-port=0 "$link" >/dev/null 2>&1 &
	page=$!
	tries=0
	until sent | grep -qv ' 0 0$' || [ $tries -gt 90 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	tries=0 # pages say every two seconds what they got
	until grep -q '"event":"viewers".*"got":{"host":[1-9]' "$dir/share.json" || [ $tries -gt 60 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	kill "$page" 2>/dev/null || true
	wait "$page" 2>/dev/null || true
	sent | while read -r loads webrtc http; do
		echo "   pages opened: $loads; sent to them: $webrtc bytes over WebRTC, $http bytes by HTTP"
	done
	got=$(sed -n 's/.*"got":{"host":\([0-9]*\),"viewers":\([0-9]*\),"http":\([0-9]*\)}.*/\1 bytes over WebRTC and \3 by HTTP/p' "$dir/share.json" | tail -n 1)
	echo "   the page itself says that it got $got"
else
	say "5. There is no Chromium here, so only HTTP is shown:"
fi
infohash=$(sed -n 's/.*"event":"serving","infohash":"\([^"]*\)".*/\1/p' "$dir/share.json" | head -n 1)
if command -v curl >/dev/null; then
	curl -sS "${link}t/$infohash/noise.wav" -o "$dir/copy"
	cmp "$dir/copy" "$dir/Holiday/noise.wav"
	echo "   what the link gives is bit for bit what is in the folder"
fi
