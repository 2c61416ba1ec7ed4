#!/bin/sh
# Runs every fuzz target of the module, one after the other: fuzz.sh [TIME].
set -eu
cd "$(dirname "$0")/.."
time=${1:-10s}

for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
	done
done
