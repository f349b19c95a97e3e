#!/bin/bash
# Builds a guest that the tests boot, from Debian packages, under $SLUICE_TEST_CACHE:
#
#   build.sh            in guest: what most tests need
#   build.sh desktop    in guest-desktop: Samba and its clients too
#
#   root.cpio     the whole user land as an initramfs: no disk image, no boot loader
#   linux.uml     a kernel that runs as an ordinary process (user-mode Linux): native speed
#   vmlinuz       a kernel for QEMU, where user-mode Linux does not run
#
# Does nothing when the cache was built by this very script. Needs root, apt and the
# packages that test/setup.sh installs: mmdebstrap, cpio, kmod, busybox-static.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
image=${1:-}
cache=${SLUICE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-test}/guest${image:+-$image}
suite=${SLUICE_GUEST_SUITE:-bookworm}
user_land=open-iscsi,e2fsprogs,xfsprogs,fio,util-linux,iproute2,kmod,sg3-utils,busybox-static,multipath-tools,dmsetup,udev
modules=(iscsi_tcp sd_mod sg xfs ext4 crc32c_generic dm_multipath dm_round_robin)
qemu_modules=(virtio_pci virtio_net)
case $image in
"") ;;
desktop)
	user_land+=,samba,smbclient,cifs-utils
	modules+=(cifs nls_utf8 cmac ccm ctr ecb gcm ghash-generic hmac sha512_generic)
	;;
*) echo "guest: there is no image called $image" >&2; exit 2 ;;
esac

say() { echo "guest: $*" >&2; }
die() { say "$*"; exit 1; }
fresh() { cat "$here/build.sh" "$here/init.sh" <(echo "$suite") | sha256sum | cut -c1-16; }

mkdir -p "$cache"
cd "$cache"
exec 9>.lock
flock 9
[ "$(cat stamp 2>/dev/null)" = "$(fresh)" ] && exit 0

[ "$(id -u)" = 0 ] || die "building the guest needs root"
for tool in apt-get mmdebstrap cpio modprobe busybox; do
	command -v "$tool" >/dev/null || die "$tool is missing: run test/setup.sh"
done
started=$SECONDS
rm -rf stamp debs kernels root root.cpio
mkdir debs kernels

say "downloading two kernels"
download_kernels() {
	kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
	[ -n "$kernel" ] && (cd debs && apt-get -q -o APT::Sandbox::User=root download "$kernel" user-mode-linux >&2)
}
# Where apt's lists are older than the archive they name packages that are gone.
download_kernels || { rm -f debs/* && apt-get update -q >&2 && download_kernels; } ||
	die "apt cannot download linux-image-cloud-amd64 and user-mode-linux"
for deb in debs/*.deb; do dpkg-deb -x "$deb" kernels; done

say "installing $user_land"
mmdebstrap --quiet --mode=root --variant=minbase --format=directory --include="$user_land" \
	--aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	"$suite" root >&2
# Samba's tools in Python are not needed to serve files.
rm -rf root/var/lib/apt root/var/cache root/usr/lib/modules root/usr/share/perl root/usr/lib/udev/hwdb.d root/usr/lib/python3*
mkdir -p root/var/cache root/usr/lib/modules

# install_modules VERSION SOURCE NAME...: the named modules and what they need.
install_modules() {
	local version=$1 source=$2
	shift 2
	mkdir -p "unpacked/lib/modules"
	ln -sfn "$source" "unpacked/lib/modules/$version"
	depmod -b unpacked "$version"
	for name; do
		modprobe -d unpacked -S "$version" --show-depends "$name" 2>/dev/null | awk '$1 == "insmod" {print $2}'
	done | sort -u | while read -r file; do
		file=${file#*"/lib/modules/$version/"}
		install -D -m644 "$source/$file" "root/usr/lib/modules/$version/$file"
	done
	cp "$source"/modules.builtin "$source"/modules.builtin.modinfo "$source"/modules.order "root/usr/lib/modules/$version/"
	depmod -b root "$version"
}
uml=$(ls kernels/usr/lib/uml/modules)
install_modules "$uml" "$PWD/kernels/usr/lib/uml/modules/$uml" "${modules[@]}"
qemu=$(ls kernels/lib/modules)
install_modules "$qemu" "$PWD/kernels/lib/modules/$qemu" "${modules[@]}" "${qemu_modules[@]}"

install -m755 "$here/init.sh" root/init
# iscsiadm starts iscsid when it is first needed; nothing logs in by itself.
sed -i -e '/^#\? *iscsid.startup *=/d' -e 's|^node.startup *=.*|node.startup = manual|' root/etc/iscsi/iscsid.conf
echo 'iscsid.startup = /sbin/iscsid' >>root/etc/iscsi/iscsid.conf
echo 'InitiatorName=iqn.2026-11.io.sluice.test:guest' >root/etc/iscsi/initiatorname.iscsi
: >root/etc/fstab

(cd root && find . -path ./dev -prune -o -print | cpio -o -H newc -R 0:0 --quiet) >root.cpio
cp kernels/usr/bin/linux.uml linux.uml
cp kernels/boot/vmlinuz-* vmlinuz
rm -rf root kernels unpacked debs
fresh >stamp
say "ready in $((SECONDS - started)) s: $(du -sh "$cache" | cut -f1) in $cache"
