# The first boot: the recipe, and what clients do with the drive while the gateway comes and goes.

# configuration of the server that the step after it reads; docs/DESKTOP.md shows it.
smb_conf() {
	cat >/etc/samba/smb.conf <<-END
		[global]
		    server role = standalone server
		    disable netbios = yes
		    smb ports = 445
		    server min protocol = SMB3_00
		    strict sync = yes
		    load printers = no
		    printcap name = /dev/null

		[drive]
		    path = /srv/drive/files
		    read only = no
		    valid users = ann
	END
}

server() {
	step initiator/name "echo 'InitiatorName=$INITIATOR' >/etc/iscsi/initiatorname.iscsi"
	initiator
	sleep 0.5
	step initiator/record "iscsiadm -m node -T $TARGET -p $PORTAL -o new"
	step initiator/chap "iscsiadm -m node -T $TARGET -o update -n node.session.auth.authmethod -v CHAP -n node.session.auth.username -v $CHAP_USER -n node.session.auth.password -v $CHAP_SECRET"
	step initiator/patience "iscsiadm -m node -T $TARGET -o update -n node.session.timeo.replacement_timeout -v 86400"
	step initiator/startup "iscsiadm -m node -T $TARGET -o update -n node.startup -v automatic"
	step initiator/login "iscsiadm -m node -T $TARGET --login"
	check initiator/disk drive_ready || exit 1
	step initiator/which "iscsiadm -m session -P 3 | grep 'Attached scsi disk'"
	step filesystem/mkfs "mkfs.ext4 -q -L drive /dev/sda"
	step filesystem/fstab "echo 'LABEL=drive /srv/drive ext4 _netdev,nofail,noatime,errors=remount-ro 0 2' >>/etc/fstab"
	step filesystem/mount "mkdir -p /srv/drive && mount /srv/drive"
	step samba/user "useradd --no-create-home --shell /usr/sbin/nologin ann"
	printf 'username=ann\npassword=anns-password\n' >/root/ann.cred
	check samba/password eval "printf 'anns-password\nanns-password\n' | smbpasswd -s -a ann"
	step samba/directory "install -d -o ann -g ann /srv/drive/files"
	smb_conf
	step samba/check "testparm -s"
	step samba/start "smbd -D"
	check samba/ready samba_ready || exit 1
}

# files: many small ones, a large one, an old name and a new one, one that is gone.
files() {
	cp -r /etc /mnt/
	head -c 64M /dev/urandom >/run/large
	cp /run/large /mnt/large
	mkdir "/mnt/Neuer Ordner" && mv /mnt/etc "/mnt/Neuer Ordner/Übersicht"
	echo first >/mnt/renamed.part && mv /mnt/renamed.part /mnt/renamed
	echo doomed >/mnt/doomed && rm /mnt/doomed
	sums
}
sums() { (cd /mnt && find . -type f -exec sha256sum {} + >/run/sums && wc -l /run/sums && [ "$(wc -l </run/sums)" -gt 100 ]); }
as_left() {
	same && [ ! -e /mnt/doomed ] && [ ! -e /mnt/renamed.part ] && [ ! -e /mnt/etc ] &&
		[ "$(stat -c %s /mnt/large)" = $((64 << 20)) ] && cmp /run/large /mnt/large
}

# A client without the kernel's SMB, as file managers are.
with_smbclient() {
	smbclient //127.0.0.1/drive -A /root/ann.cred -c "mkdir by-smbclient; cd by-smbclient; put /run/large part; \
		rename part whole; put /etc/hostname gone; del gone; get whole /run/whole; ls" &&
		cmp /run/large /run/whole && ls /mnt/by-smbclient && [ "$(ls /mnt/by-smbclient)" = whole ]
}

# saving NAME: a client saves a megabyte at a time, each forced to the gateway.
saving() {
	local n
	for n in $(seq -w 1 16); do
		dd if=/run/large of="/mnt/$1-$n" bs=1M skip=$((10#$n)) count=1 conv=fsync status=none || return
		sleep 0.1
	done
}
saved() {
	local n
	for n in $(seq -w 1 16); do
		cmp <(dd if=/run/large bs=1M skip=$((10#$n)) count=1 status=none) "/mnt/$1-$n" || return
	done
}
ended() { cat /run/saving; return "$1"; }

# interrupted HOW: the gateway ends while a client saves, and is back at once.
interrupted() {
	saving "$1" >/run/saving 2>&1 &
	local writer=$!
	sleep 1
	check "gateway $1/while a client saves" kill -0 $writer
	echo "event $1"
	echo "event start"
	wait $writer
	check "gateway $1/saved" ended $?
	check "gateway $1/unharmed" unharmed
	check "gateway $1/map again" map_again
	check "gateway $1/read back" saved "$1"
}

# away: the gateway is not there when a client begins to save. The client waits, it is told no error.
away() {
	echo "event stop"
	saving away >/run/saving 2>&1 &
	local writer=$!
	sleep 5
	check "gateway away/the client waits" kill -0 $writer
	check "gateway away/nothing is saved" [ ! -e /mnt/away-02 ]
	echo "event start"
	wait $writer
	check "gateway away/saved when it is back" ended $?
	check "gateway away/unharmed" unharmed
	check "gateway away/map again" map_again
	check "gateway away/read back" saved away
}

server
check client/map map || exit 1
check client/files files
check "client/map again" map_again
check "client/read back" as_left
check client/smbclient with_smbclient
interrupted stop
interrupted kill
check "gateway killed/files as they were" as_left
away
sums >/dev/null
check "shutdown/unmap" umount /mnt
kill "$(cat /run/samba/smbd.pid)"
while [ -e "/proc/$(cat /run/samba/smbd.pid 2>/dev/null)/exe" ]; do sleep 0.1; done
check "shutdown/umount" umount /srv/drive
check "shutdown/fsck" e2fsck -fn /dev/sda
check "shutdown/logout" iscsiadm -m node --logoutall=all
# What a server has on its own disk.
echo "keep $(tar -cz -C / etc/iscsi etc/fstab etc/passwd etc/shadow etc/group etc/samba/smb.conf var/lib/samba root/ann.cred run/sums | base64 -w 0)"
exit $failed
