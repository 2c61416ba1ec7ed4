#!/bin/sh
# Shows causeway at work on this machine alone: one process seeds a real file (its
# own program), another downloads it knowing nothing but a magnet link, and the copy
# is run. Nothing leaves the loopback interface. demo.sh PATH_OF_CAUSEWAY
set -eu

causeway=$(realpath "${1:-bin/causeway}")
dir=$(mktemp -d)
seeder=
cleanup() {
	[ -z "$seeder" ] || kill "$seeder" 2>/dev/null || true
	[ -z "$seeder" ] || wait "$seeder" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

alone="--listen 127.0.0.1 --no-dht --no-trackers"
export CAUSEWAY_NO_LSD=true CAUSEWAY_NO_PORTMAP=true CAUSEWAY_NO_WEBRTC=true
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# field NAME FILE: the first value of a string field in a file of JSON lines
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1; }

mkdir "$dir/there" "$dir/here"
cp "$causeway" "$dir/there/causeway"

say "1. One process seeds a file of $(wc -c <"$dir/there/causeway") bytes:"
echo "   causeway seed causeway"
# shellcheck disable=SC2086 # $alone is a list of flags
"$causeway" seed "$dir/there/causeway" --state "$dir/state1" --port 0 $alone --json >"$dir/seed.json" 2>"$dir/seed.log" &
seeder=$!

tries=0
until grep -q '"event":"seeding"' "$dir/seed.json"; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 "$seeder" 2>/dev/null; then
		echo "the seeder did not start:" >&2
		cat "$dir/seed.log" "$dir/seed.json" >&2
		exit 1
	fi
	sleep 0.1
done
port=$(field tcp "$dir/seed.json" | sed 's/.*://')
magnet="$(grep '"event":"seeding"' "$dir/seed.json" | sed -n 's/.*"magnet":"\([^"]*\)".*/\1/p' | sed 's/\\u0026/\&/g' | head -n 1)&x.pe=127.0.0.1:$port"

say "2. Another process knows only this link, which names the first one as a peer:"
echo "   causeway '$magnet'"
# shellcheck disable=SC2086
"$causeway" download "$magnet" -o "$dir/here" --state "$dir/state2" --port 0 $alone

say "3. The copy is the same file, and it runs:"
(cd "$dir" && sha256sum there/causeway here/causeway)
cmp "$dir/there/causeway" "$dir/here/causeway"
chmod +x "$dir/here/causeway"
"$dir/here/causeway" version

say "The files of this part were cleaned up."
