// Package object is sluice's view of an object store: a flat set of objects under one
// prefix of a bucket, or in a directory, behind the interface Store.
//
// # Layers
//
// A backend talks to one kind of store, makes each request once, and says of each failure
// what it means. What every backend needs is done by decorators, which are Stores around
// Stores, so that each can be left out, reordered, and tested by itself:
//
//	Limit    at most so many requests, so many bytes/s
//	Retry    jittered exponential backoff; a deadline for each attempt
//	Count    calls, errors and bytes
//	Fault    tests only: errors, hangs, lost answers, changed bytes
//	backend  object/dir, object/s3, object/memory (tests)
//
// in that order from the top: a wait for bandwidth should not look like a slow store to
// Retry, and Count should see each attempt. Small, urgent requests (a lease's renewal) go to
// Retry directly, past Limit.
//
// Probe checks at start that a store keeps the promises on which data depends, and
// storeurl.Open makes a backend from a URL.
//
// # Errors
//
// Every failure of a Store is an *Error. Callers ask four questions of it:
//
//	errors.Is(err, ErrNotFound)      there is no such object, for certain
//	errors.Is(err, ErrPrecondition)  PutIf met another version than the one it was to replace
//	errors.Is(err, ErrRefused)       credentials, permissions, bucket: someone must mend it
//	Transient(err)                   the same call may succeed later by itself
//
// Anything that is none of them is final: this request will never work. After any failed write
// other than ErrPrecondition the object may have been written or not, now or a little later.
//
// # Fencing
//
// PutIf is the only operation that decides between writers. A conditional Delete does not
// exist here because several servers get it wrong. Put must be used only for keys that one
// writer alone can name, such as segments with their random identifiers.
//
// # Adding a backend
//
//  1. Make a package object/NAME that imports object, never the reverse, and whose Open takes
//     an Options struct. Assert `var _ object.Store = (*Store)(nil)`.
//  2. Check keys with CheckKey and prefixes with CheckPrefix; use names that begin with a dot for
//     what is your own.
//  3. Return *Error from every method. Set Transient for what may pass by itself: time-outs,
//     broken connections, throttling, server faults, answers cut short. The end of the caller's
//     context is final. ErrNotFound is only for a store that answered and has no such key:
//     a missing bucket or mount must not look like an empty one.
//  4. Do not retry. Do not limit. Do not log.
//  5. Put returns when the object is durable. A reader sees the old object or the new one.
//  6. An ETag is never empty, and never that of two different contents of a key.
//  7. GetRange compares what it got with what it was promised; it is better to fail than to
//     return fewer bytes.
//  8. Pass storetest.Run, with -race, against the real thing, and pass Probe.
//  9. Give it a scheme in object/storeurl, and say in its doc.go what it costs and what it needs.
package object
