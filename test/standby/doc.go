// Package standby tests what happens to a volume when the gateway that serves it dies, is stopped for a while, or loses
// the bucket, with real daemons on a real bucket: a standby takes over, initiators find the volume under the same name at the other
// portal, and nobody ever serves or changes what another one owns.
package standby
