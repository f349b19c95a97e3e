// Package scrub reads every object that volumes, their recovery points and their snapshots need, checks it, and repairs what
// is damaged from local copies.
//
// # What is read
//
//	names/, volumes/<id>/head.json, snapshots/, schedules/, writers.json      is each record what it should be?
//	roots, nodes and pages of the maps                                        ┐
//	segments that the maps name                                               ├ see package verify
//	segments behind the oldest root of each volume: they are replayed         ┘
//	local copies of those segments: what is wrong is dropped, and fetched again when it is needed
//
// All of this is read at a rate that the caller sets, each object once, however many moments need it.
//
// # While gateways write, collect and delete
//
// What is read was listed before, so something that was deleted since looks damaged. Therefore all that looks damaged is looked at
// again with a fresh list, and only what that second round finds is reported. The garbage collector never deletes what was needed ten
// minutes before; a round that took longer than half of that is followed by another one.
//
// # Repair
//
//	object ────► header and frames that are good ─┐
//	                                              ├─► blocks with the CRC32C that the map has ─► new object ─► PUT, If-Match
//	local file ► records, and blocks ─────────────┘
//
// What the segment is to hold is taken from the object's header; if that is damaged or missing, from the records of the local file, if the
// segment was written here; else from the map, which names all of its blocks that anybody needs: then the object is made as the garbage collector
// makes those that it thins out. A segment that is to be replayed, and still can be, is put back whole or not at all. Of another one, what is left is put back even
// if that is not all: a block that is missing fails to be read, as it did before. If-Match sees to it that the object is the one that was found damaged.
// An object of a format that this program does not know is never replaced.
//
// Parts of maps have no second copy that is known to be right, so they are not repaired: a snapshot that lost some can be salvaged, and a volume
// that is served has its map on local disk and writes changed parts anew with each root.
package scrub
