#!/bin/bash
# What the tests need beyond Go: Debian packages, the S3 server, the guest. Does nothing
# that is done already. What it cannot do it says in one line each, and goes on: the
# tests that need it are then skipped. "setup.sh bench" adds what make bench compares with.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
left_out() { echo "left out: $*"; }

packages=(libiscsi-bin libiscsi-dev gcc libc6-dev qemu-utils qemu-block-extra qemu-system-x86
	mmdebstrap busybox-static cpio kmod iproute2 e2fsprogs)
[ "${1:-}" = bench ] && packages+=(tgt istgt s3backer linux-perf)

missing=()
for package in "${packages[@]}"; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ]; then
		left_out "packages ${missing[*]}: not root"
	elif ! command -v apt-get >/dev/null; then
		left_out "packages ${missing[*]}: no apt"
	else
		echo "installing ${missing[*]}"
		export DEBIAN_FRONTEND=noninteractive
		# Services that come with packages must not start on the user's machine.
		policy=
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			policy=/usr/sbin/policy-rc.d
			printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
		fi
		install() { apt-get install -y -q --no-install-recommends "${missing[@]}"; }
		log=$(mktemp)
		install >"$log" 2>&1 || { apt-get update -q && install; } >"$log" 2>&1 ||
			{ tail -n 5 "$log"; left_out "packages ${missing[*]}: apt-get failed"; }
		rm -f "$log" $policy
	fi
fi

log=$(mktemp)
go tool -C "$root/tools" -n versitygw >"$log" 2>&1 || { tail -n 3 "$log"; left_out "tests on a real S3 server: versitygw cannot be built"; }
if [ "$(id -u)" != 0 ]; then
	left_out "tests in a guest: not root"
else
	for image in "" desktop; do
		"$root/test/guest/build.sh" $image >"$log" 2>&1 || { tail -n 3 "$log"; left_out "tests in a guest: it cannot be built"; }
	done
fi
rm -f "$log"
