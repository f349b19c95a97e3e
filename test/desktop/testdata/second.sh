# The second boot: the server's own disk is as it was, and everything comes up by itself. In the
# environment too: KEPT, the archive that the first boot has left.
base64 -d <<<"$KEPT" | tar -xz -C / || exit 1

refused() { mkdir -p /srv/drive && ! "$@" && [ -z "$(ls /srv/drive)" ]; }

# What systemd runs at boot: open-iscsi.service, remote-fs.target, smbd.service.
initiator
sleep 0.5
step boot/login "iscsiadm -m node --loginall=automatic"
check boot/disk drive_ready || exit 1
check boot/samba smbd -D # before there is a drive to share
check boot/ready samba_ready || exit 1
check "boot/no share without the drive" refused smbclient //127.0.0.1/drive -A /root/ann.cred -c 'put /etc/hostname astray'
step boot/mount "mount -a -O _netdev"
check boot/mounted mountpoint /srv/drive || exit 1
check client/map map || exit 1
check "client/every file as it was" same
files_there() { (cd /mnt && find . -type f | wc -l); }
check "client/no file more" [ "$(files_there)" = "$(wc -l </run/sums)" ]
check client/writable eval 'echo again >/mnt/again && sync && map_again && grep again /mnt/again'
check client/unharmed unharmed
check "shutdown/unmap" umount /mnt
kill "$(cat /run/samba/smbd.pid)"
while [ -e "/proc/$(cat /run/samba/smbd.pid 2>/dev/null)/exe" ]; do sleep 0.1; done
check "shutdown/umount" umount /srv/drive
check "shutdown/fsck" e2fsck -fn /dev/sda
check "shutdown/logout" iscsiadm -m node --logoutall=all
exit $failed
