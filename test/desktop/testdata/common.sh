# What both boots share. Prints for test/guest's Checks "ok NAME", "FAIL NAME" with indented
# output after it, "event NAME"; and for the transcript "run COMMAND" and "out LINE".
#
# In the environment: PORTAL_HOST; PORT, TARGET, INITIATOR, CHAP_USER, CHAP_SECRET; DOCUMENTED, which stands
# for the portal in the transcript.
PORTAL=$PORTAL_HOST:$PORT
failed=0
modprobe -a cifs nls_utf8
mkdir -p /var/cache/samba /var/log/samba /run/samba # the image comes without what is in caches
# Client and server are one kernel. When too much of what the client has written is dirty, the
# kernel holds up whoever writes, smbd too, which alone could make it less.
echo 60 >/proc/sys/vm/dirty_ratio
echo 1 >/proc/sys/vm/dirty_background_ratio

# A script that hangs is ended by the host, which does not see why.
(
	sleep 240 >/dev/null 2>&1
	echo "FAIL the script still runs"
	{ tail -n 20 /run/iscsid && dmesg | tail -n 20; } 2>&1 | sed 's/^/    /'
) &
trap "kill $!" EXIT

# initiator starts iscsid, and starts it again when the kernel lets no connection be made any more: 6.1 has a race that leaves one marked as
# being cleaned up, if its end is noticed twice while iscsid takes it up.
initiator() {
	iscsid -f >>/run/iscsid 2>&1 &
	while sleep 3 >/dev/null 2>&1; do
		if [ "$(tail -n 5 /run/iscsid | grep -c "can't bind conn")" = 5 ]; then
			echo "note iscsid starts again"
			kill -9 $(pidof iscsid)
			iscsid -f >/run/iscsid 2>&1 &
		fi
	done &
}

# Output goes through a file: a daemon that keeps it open would hold up a pipe.
check() { # check NAME COMMAND...
	local name=$1
	shift
	if "$@" >/run/output 2>&1; then
		echo "ok $name"
	else
		failed=1
		echo "FAIL $name"
		sed 's/^/    /' /run/output
		return 1
	fi
}

# step NAME COMMAND: a step of the recipe, which a reader could type. Nothing goes on without it.
step() {
	echo "run ${2//$PORTAL/$DOCUMENTED}"
	check "$1" eval "$2" || exit 1
	sed "s/^/out /; s/$PORTAL/$DOCUMENTED/g; s/$PORTAL_HOST,$PORT/${DOCUMENTED/:/,}/g" /run/output
}

# drive_ready waits until the kernel has found the disk of the session.
drive_ready() {
	local n
	for n in $(seq 100); do
		[ -b /dev/sda ] && blockdev --getsize64 /dev/sda && return
		sleep 0.1
	done
	dmesg | tail
	return 1
}

samba_ready() {
	local n
	for n in $(seq 100); do
		smbclient -L //127.0.0.1 -A /root/ann.cred && return
		sleep 0.1
	done
	return 1
}

# From now on every byte that is read comes over iSCSI and over SMB again.
map_again() {
	umount /mnt && sync && echo 3 >/proc/sys/vm/drop_caches && map
}
map() { mount -t cifs //127.0.0.1/drive /mnt -o credentials=/root/ann.cred,vers=3.1.1,cache=strict || { dmesg | tail -5; return 1; }; }
same() { (cd /mnt && sha256sum --quiet -c "${1:-/run/sums}"); }

# unharmed: neither file system nor block device has given anything up.
unharmed() {
	! dmesg | grep -E 'EXT4-fs error|Aborting journal|[Rr]emounting|I/O error|CIFS.*(reconnect|has not responded)'
}
