# The kernel's initiator against a target, run in the guest. Prints a line for each
# check, "ok NAME" or "FAIL NAME" followed by the indented output of what failed, and
# "event NAME" where the test on the host is to do something.
#
# In the environment: PORTAL_HOST; PORT, PLAIN, CHAP, MUTUAL (target names), LUN,
# USER, SECRET, MUTUAL_USER, MUTUAL_SECRET, SIZE (of fio's file).
P=$PORTAL_HOST:$PORT
failed=0

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
refused() { ! "$@"; }

discover() { iscsiadm -m discovery -t st -p "$P" -o nonpersistent | grep -q " $PLAIN\$"; }

# A static record: the portal that SendTargets names is of no use in here.
login() { # login TARGET [NAME VALUE]...
	local target=$1 settings=()
	shift
	while [ $# -gt 0 ]; do
		settings+=(-n "node.session.auth.$1" -v "$2")
		shift 2
	done
	iscsiadm -m node -T "$target" -p "$P" -o new || return
	iscsiadm -m node -T "$target" -p "$P" -o update -n node.session.initial_login_retry_max -v 1 "${settings[@]}" || return
	iscsiadm -m node -T "$target" -p "$P" --login && disk "$target"
}
logout() {
	iscsiadm -m node -T "$1" -p "$P" --logout && forget "$1"
}
forget() { iscsiadm -m node -T "$1" -p "$P" -o delete; }

# disk TARGET waits for the disk of the target's session and prints its device.
disk() {
	local session device
	for _ in $(seq 100); do
		for session in /sys/class/iscsi_session/session*; do
			[ "$(cat "$session/targetname" 2>/dev/null)" = "$1" ] || continue
			for device in "$session"/device/target*/*:"$LUN"/block/*; do
				[ -e "$device" ] && echo "/dev/${device##*/}" && return
			done
		done
		sleep 0.1
	done
	echo "no disk appeared for $1"
	return 1
}

verify() { # verify MODE [OPTION]...
	fio --name=data --directory=/mnt --size="$SIZE" --bs=4k --ioengine=libaio --iodepth=16 --direct=1 \
		--verify=crc32c --verify_fatal=1 --rw="$1" "${@:2}"
}
fill() { cp -r /usr/sbin /etc /mnt/ && (cd /mnt && find . -type f ! -name 'data.*' -exec sha256sum {} + >/run/sums); }
same() { (cd /mnt && sha256sum --quiet -c /run/sums); }
forget_cache() { sync && echo 3 >/proc/sys/vm/drop_caches; }

# file_system NAME MKFS FSCK: the life of a file system on the volume, over two sessions.
file_system() {
	local name=$1 make=$2 repair=$3 device
	check "$name/login" login "$PLAIN" || return
	device=$(disk "$PLAIN")
	check "$name/mkfs" $make "$device" || return
	check "$name/mount" mount "$device" /mnt || return
	check "$name/fio write and verify" verify randwrite
	check "$name/files written" fill
	check "$name/fstrim" fstrim /mnt
	forget_cache
	check "$name/files read back" same
	check "$name/umount" umount /mnt
	check "$name/fsck" $repair "$device"
	check "$name/logout" logout "$PLAIN" || return
	check "$name/login again" login "$PLAIN" || return
	device=$(disk "$PLAIN")
	check "$name/mount again" mount "$device" /mnt || return
	check "$name/same files" same
	check "$name/fio verify again" verify randread --verify_only
	check "$name/umount again" umount /mnt
	check "$name/logout again" logout "$PLAIN"
}

ended() { cat /run/fio && return "$1"; }

# restart: the target is killed and comes back under a mounted file system that is being
# written; the initiator must recover its session and nothing may be lost.
restart() {
	local device
	check "target killed/login" login "$PLAIN" || return
	device=$(disk "$PLAIN")
	check "target killed/mkfs" mkfs.ext4 -qF "$device"
	check "target killed/mount" mount -o errors=remount-ro "$device" /mnt || return
	verify randwrite --rate=,8m >/run/fio 2>&1 & # slow, so that it is still writing
	sleep 2
	echo "event kill"
	wait $!
	check "target killed/fio verify" ended $?
	check "target killed/files written" fill
	forget_cache
	check "target killed/files read back" same
	check "target killed/umount" umount /mnt
	check "target killed/fsck" e2fsck -fn "$device"
	check "target killed/logout" logout "$PLAIN"
}

chap() {
	local one=(authmethod CHAP username "$USER" password "$SECRET")
	local both=("${one[@]}" username_in "$MUTUAL_USER" password_in "$MUTUAL_SECRET")
	check "chap/no secret refused" refused login "$CHAP"
	forget "$CHAP" >/dev/null 2>&1
	check "chap/wrong secret refused" refused login "$CHAP" authmethod CHAP username "$USER" password "not-$SECRET"
	forget "$CHAP" >/dev/null 2>&1
	check "chap/wrong user refused" refused login "$CHAP" authmethod CHAP username nobody password "$SECRET"
	forget "$CHAP" >/dev/null 2>&1
	check "chap/one-way login" login "$CHAP" "${one[@]}"
	check "chap/one-way read" dd if="$(disk "$CHAP")" of=/dev/null bs=1M count=8 iflag=direct
	check "chap/one-way logout" logout "$CHAP"
	check "chap/mutual login" login "$MUTUAL" "${both[@]}"
	check "chap/mutual read" dd if="$(disk "$MUTUAL")" of=/dev/null bs=1M count=8 iflag=direct
	check "chap/mutual logout" logout "$MUTUAL"
	# Here it is the initiator that refuses: the target does not prove who it is.
	check "chap/wrong mutual secret refused" refused login "$MUTUAL" "${one[@]}" username_in "$MUTUAL_USER" password_in "not-$MUTUAL_SECRET"
	forget "$MUTUAL" >/dev/null 2>&1
}

iscsid
sleep 0.5
check discovery discover
file_system ext4 "mkfs.ext4 -qF" "e2fsck -fn"
file_system xfs "mkfs.xfs -qf" "xfs_repair -n"
chap
[ -n "$RESTART" ] && restart
exit $failed
