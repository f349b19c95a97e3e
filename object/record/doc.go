// Package record encodes what the bucket has beside data: small JSON objects, one for each volume, snapshot, schedule and so on. Their last
// member is a checksum of the rest, since a changed digit would still be good JSON: another size, or another end of the history.
//
// Who edits a record by hand removes that member: a record without it, as older programs wrote them, is not checked.
package record
