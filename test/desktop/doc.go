// Package desktop tests a drive for desktops: a volume, a Linux server that makes a file
// system on it and shares it by Samba, and clients that map the share. It is the recipe of
// docs/DESKTOP.md, run as it stands there.
//
//	client: mount.cifs, smbclient
//	   | SMB 3.1.1
//	server: smbd, ext4, iscsi_tcp ---- sluice serve ---- bucket
//	                                   stopped, killed, replaced
//
// Server and client are one guest (package guest, image "desktop"), for the share is mapped
// over its loopback. The guest has no disk, so for its reboot the test carries the server's
// configuration over from the first boot to the second: the records of the initiator, fstab,
// the users, the passwords of Samba. No file of the drive is carried over, only checksums.
// While the guest is off, the gateway's disk is thrown away; the second boot finds what is in
// the bucket.
package desktop
