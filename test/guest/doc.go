// Package guest boots a throw-away Linux and runs a shell script in it, so that the
// gateway can be tested with the one initiator that matters most, the kernel's own
// (open-iscsi), on a machine that has no such modules and must not be changed.
//
// The guest is an initramfs of Debian packages that build.sh makes once (see there),
// with two ways to boot it:
//
//   - [UML]: Debian's user-mode-linux. The kernel is an ordinary process and the code
//     in it runs natively; it boots in about two seconds. It has one CPU, and reaches
//     the host through a tap device, which needs root.
//   - [QEMU]: software emulation with Debian's cloud kernel. Slower by far when data
//     moves, needs no privilege.
//
// Nothing in the guest survives it: there is no disk. The script, and what it prints,
// travel over one TCP connection from the guest to [Guest.Run]:
//
//	host: listens             guest: connects
//	host: "<bytes>\n<script>"
//	                          guest: runs it; stdout and stderr, as they come
//	                          guest: "exit=<status>\n", closes, powers off
//
// The target listens on the host's loopback. Under QEMU's user network the guest
// reaches that as 10.0.2.2; for user-mode Linux, Run relays each forwarded port from
// the tap device's address to 127.0.0.1. In both cases the script finds the address in
// $PORTAL_HOST, and the target sees a loopback initiator. SendTargets answers with the
// address that the target knows, which is of no use in the guest, so scripts log in
// with a static record (iscsiadm -m node -o new).
package guest
