// Package s3 is an object store in an S3 bucket: AWS, or any server that speaks the
// same protocol well enough to pass object.Probe. It is the one package that knows the
// AWS SDK.
//
// What it takes from the SDK is signing, credentials (the usual chain: environment,
// shared files, SSO, container and instance roles) and addressing. What it does itself:
//
//   - No retries here: object.Retry does that, for every backend alike, and knows about
//     conditional writes whose answer was lost.
//   - Failures are told apart in classify.go: transient, refused, not found, precondition,
//     final. A 404 becomes ErrNotFound only if it names the key, so that a missing bucket
//     never looks like an empty one.
//   - A body that is shorter than its headers promise, a range other than the one asked
//     for, or an answer without ETag is an error. A server that ignores Range and sends
//     the whole object is understood.
//   - The ETag and the bytes of one answer are taken to belong together or, on servers that
//     look at a file's name twice (versitygw), the bytes to be the newer.
//   - A body is read into one buffer of exactly its size, and sent from the caller's.
//   - The payload is not hashed with SHA-256 for the signature, which would halve the
//     rate of uploads; a CRC32C header lets the server refuse a body that was
//     damaged on its way (Options.NoChecksums).
package s3
