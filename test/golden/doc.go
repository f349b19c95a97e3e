// Package golden holds whole buckets as earlier versions of the program wrote them, and shows that the present one reads all of each:
// volumes, clones, snapshots, moments of the past, segments that the garbage collector has thinned out. Golden files of single formats are in
// the packages of those formats; here it is their meaning to each other that must not change.
//
//	testdata/v1.tar.gz    the objects, as files
//	testdata/v1.json      what is to be found in them: names, sizes, SHA-256 of the content
//
// A bucket is written once, by the first version that has something new in it, and never again:
//
//	go test ./test/golden -run TestWrite -write v2
package golden
