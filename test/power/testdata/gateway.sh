# Run in the guest: a gateway whose data directory is on the guest's disk. Prints "event ready" when it serves, and
# goes on until the power is cut.
#
# In the environment: PORTAL_HOST; PORT of the bucket there, FIRST (true: make the volume), INITIATOR that may log in, credentials.
mount /dev/ubda /mnt || exit 1
export SLUICE_DATA_DIR=/mnt/gateway
sluice() { /mnt/sluice "$@"; }
sluice serve --store "s3://sluice-test/power?endpoint=http://$PORTAL_HOST:$PORT&region=us-east-1&path-style=true" \
	--iscsi-listen 0.0.0.0:3260 --upload-buffer 256MiB --cache 256MiB 2>/run/log &
for n in $(seq 300); do
	sluice status >/dev/null 2>&1 && break
	kill -0 $! || break
	sleep 0.1
done
if "$FIRST"; then
	sluice volume create power --size 1GiB >/dev/null && sluice initiator allow power --iqn "$INITIATOR" >/dev/null
fi
if sluice volume show power | grep -q 'state *attached'; then
	echo "event ready"
else
	cat /run/log
	exit 1
fi
wait
