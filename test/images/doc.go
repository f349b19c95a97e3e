// Package images tests disk images end to end, with QEMU's own tools as the judge: what is imported is compared through
// iSCSI with what it was made of, what is exported with what it came from, interrupted imports are resumed after kill -9 of
// either side, and a virtual machine boots from a clone of an image on a gateway that has nothing but the bucket.
package images
