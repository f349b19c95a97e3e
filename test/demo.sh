#!/bin/bash
# make run: a gateway on the embedded store with a volume to try, until Ctrl-C.
# Settings: DIR (data and bucket; ./run), PORTAL (127.0.0.1:3260), SIZE (10GiB).
set -euo pipefail
cd "$(dirname "$0")/.."
DIR=${DIR:-$PWD/run} PORTAL=${PORTAL:-127.0.0.1:3260} SIZE=${SIZE:-10GiB}
mkdir -p "$DIR/data" "$DIR/bucket"
export SLUICE_API=$DIR/data/api.sock

bin/sluice serve --data-dir "$DIR/data" --store "file://$DIR/bucket" --iscsi-listen "$PORTAL" 2>"$DIR/log" &
daemon=$!
trap 'kill -TERM $daemon 2>/dev/null; wait $daemon; exit 0' INT TERM
until bin/sluice status >/dev/null 2>&1; do
	kill -0 $daemon 2>/dev/null || { tail -n 5 "$DIR/log"; exit 1; }
	sleep 0.1
done
bin/sluice volume show demo >/dev/null 2>&1 || bin/sluice volume create demo --size "$SIZE" >/dev/null
bin/sluice volume show demo
cat <<TXT

The gateway runs: data in $DIR, log in $DIR/log. In another terminal:

    iscsiadm -m discovery -t sendtargets -p $PORTAL
    iscsiadm -m node -T iqn.2026-11.io.sluice:demo -p $PORTAL --login
    bin/sluice status --api $SLUICE_API

Ctrl-C ends it; make run brings it back with the same data.
TXT
wait $daemon
