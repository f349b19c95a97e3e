#!/bin/bash
# The guest's first process, the same for user-mode Linux and QEMU. It brings up the
# network, connects to the test that booted it, reads a script from the connection,
# runs it with its output going back, says how it ended and powers off.
#
# From the kernel's command line: sluice.ip, sluice.host (addresses), sluice.port.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
power_off() { exec busybox poweroff -f; }

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts /run /tmp /mnt
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/udev
ln -sfn /proc/self/fd /dev/fd

for word in $(cat /proc/cmdline); do
	case $word in
	sluice.ip=*) ip=${word#*=} ;;
	sluice.host=*) host=${word#*=} ;;
	sluice.port=*) port=${word#*=} ;;
	esac
done
[ -e /sys/class/net/vec0 ] || modprobe -a virtio_pci virtio_net
modprobe -a sd_mod sg iscsi_tcp xfs ext4
for nic in vec0 eth0; do [ -e /sys/class/net/$nic ] && break; done
hostname guest
ip link set lo up
ip link set $nic up
ip addr add "$ip" dev $nic

exec 3<>"/dev/tcp/$host/$port" || power_off
read -r size <&3
head -c "$size" <&3 >/run/script
export PORTAL_HOST=$host
cd /root && bash /run/script </dev/null >&3 2>&1
echo "exit=$?" >&3
exec 3>&-
power_off
