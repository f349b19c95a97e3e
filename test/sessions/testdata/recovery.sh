# Run in the guest: a file system on a volume, written while things fail. Prints "ok NAME",
# "FAIL NAME" with indented output after it, "note TEXT", and "event NAME" where the test on
# the host is to make something fail, and to mend it.
#
# In the environment: PORTAL_HOST; PORTS (one for each path to the portal), TARGET, SIZE of
# what fio writes while things fail, COLD size of what it reads from the bucket (more than the
# gateway's cache holds), TROUBLES (names of events, in order), POLICY (how dm-multipath groups paths).
failed=0
device=

check() { # check NAME COMMAND...
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok $name"
	else
		failed=1
		echo "FAIL $name"
		sed 's/^/    /' <<<"$output"
		return 1
	fi
}

paths() { set -- $PORTS; echo $#; }

# On one path the initiator waits for as long as a trouble may last (its default is 120 s);
# with two, a path fails early and dm-multipath waits instead.
login() {
	local port patience=120
	[ "$(paths)" -gt 1 ] && patience=5
	for port in $PORTS; do
		iscsiadm -m node -T "$TARGET" -p "$PORTAL_HOST:$port" -o new &&
			iscsiadm -m node -T "$TARGET" -p "$PORTAL_HOST:$port" -o update \
				-n node.session.timeo.replacement_timeout -v $patience &&
			iscsiadm -m node -T "$TARGET" -p "$PORTAL_HOST:$port" --login || return
	done
}

disks() { ls -d /sys/class/iscsi_session/session*/device/target*/*:0/block/* 2>/dev/null; }

# find_device waits for as many disks as there are paths, and for the map over them.
find_device() {
	local n
	for n in $(seq 300); do
		if [ "$(disks | wc -l)" = "$(paths)" ]; then
			device=/dev/$(basename "$(disks | head -1)")
			[ "$(paths)" -gt 1 ] && device=$(ls /dev/mapper/mpath? 2>/dev/null | head -1)
			[ -b "$device" ] && return
		fi
		sleep 0.2
	done
	disks
	multipath -ll -v3 2>&1 | tail -30
	return 1
}

start_multipath() {
	/lib/systemd/systemd-udevd --daemon && udevadm trigger && udevadm settle
	modprobe -a dm_multipath dm_round_robin
	cat >/etc/multipath.conf <<-END
		defaults {
			user_friendly_names yes
			find_multipaths no
			path_grouping_policy $POLICY
			path_selector "round-robin 0"
			path_checker tur
			polling_interval 2
			max_polling_interval 4
			no_path_retry queue
		}
	END
	multipathd
}

data() { # data NAME MODE [OPTION]...
	local size=$SIZE
	[ "$1" = cold ] && size=$COLD
	fio --name="$1" --directory=/mnt --size="$size" --bs=16k --ioengine=libaio --iodepth=16 --direct=1 \
		--verify=crc32c --verify_fatal=1 --rw="$2" "${@:3}"
}
written() { cat /run/fio && return "$1"; }
writable() { grep -q ' /mnt ext4 rw' /proc/mounts && date >/mnt/alive && sync && cat /mnt/alive; }
# unharmed: the kernel has given nothing up. A path that multipath has failed may be replaced, and of one
# in reserve it finds that it cannot read the partitions.
unharmed() {
	local bad='EXT4-fs error|Aborting journal|[Rr]emounting|Buffer I/O error on dev dm|JBD2'
	[ "$(paths)" = 1 ] && bad="$bad|Buffer I/O error|I/O error, dev"
	! dmesg | grep -E "$bad"
}
# asked: the target has asked for a logout, and the initiator has understood.
asked() {
	local n
	for n in $(seq 50); do
		grep 'Target requests logout' /run/iscsid && return
		sleep 0.2
	done
	cat /run/iscsid
	return 1
}
# grown: every path has been told of the new size, and none twice.
grown() {
	local n
	for n in $(seq 50); do
		[ "$(dmesg | grep -c 'Capacity data has changed')" = "$(paths)" ] && return
		sleep 0.2
	done
	dmesg | tail -20
	return 1
}
recoveries() { dmesg | grep -c 'detected conn error'; }

# trouble NAME: NAME happens while fio writes.
trouble() {
	local before=$(recoveries) begin=$SECONDS
	data data randwrite --rate=,6m >/run/fio 2>&1 & # slow, so that it is still writing
	sleep 2
	echo "event $1"
	wait $!
	check "$1/written and verified" written $?
	check "$1/writable" writable
	check "$1/unharmed" unharmed
	[ "$1" = grow ] && check "$1/told once on each path" grown
	[ "$1" = stop ] && check "$1/asked to log out" asked
	echo "note $1: $((SECONDS - begin)) s, $(($(recoveries) - before)) connections recovered"
}

# slow_store NAME: NAME happens before what has to come from the bucket is read, and fio writes.
slow_store() {
	local begin=$SECONDS reader
	check "$1/file for the bucket" data cold write --end_fsync=1 --do_verify=0
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo "event $1"
	sleep 1
	data cold randread --verify_only >/run/cold 2>&1 &
	reader=$!
	data data randwrite >/run/fio 2>&1
	check "$1/written and verified" written $?
	wait $reader
	local status=$?
	cp /run/cold /run/fio
	check "$1/read from the bucket and verified" written $status
	check "$1/writable" writable
	check "$1/unharmed" unharmed
	echo "note $1: $((SECONDS - begin)) s"
}

iscsid -f -d 1 >>/run/iscsid 2>&1 &
sleep 0.5
[ "$(paths)" -gt 1 ] && check "multipathd" start_multipath
check login login || exit 1
find_device >/run/find 2>&1 || { check "device" cat /run/find; sed 's/^/note /' /run/find; exit 1; }
check mkfs mkfs.ext4 -qF "$device"
check mount mount -o errors=remount-ro "$device" /mnt || exit 1
for name in $TROUBLES; do
	case $name in
	freeze*) slow_store "$name" ;;
	*) trouble "$name" ;;
	esac
done
check umount umount /mnt
check fsck e2fsck -fn "$device"
[ "$(paths)" -gt 1 ] && multipath -F
check logout iscsiadm -m node -T "$TARGET" --logout
if [ "$(paths)" = 1 ]; then
	check "removal/login" iscsiadm -m node -T "$TARGET" --login
	: >/run/iscsid
	echo "event detach"
	check "removal/asked to log out" asked
fi
dmesg | grep -i 'iscsi\|connection\|EXT4\|device-mapper' | tail -40 | sed 's/^/note dmesg: /'
grep -i 'target\|async\|logout' /run/iscsid | sed 's/^/note iscsid: /' | tail -20
exit $failed
