package storeurl_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/object"
	"sluice/object/s3"
	"sluice/object/storeurl"
	"sluice/test/s3server"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		url  string
		want storeurl.Location
	}{
		{"file:///var/lib/sluice/store", storeurl.Location{Dir: "/var/lib/sluice/store"}},
		{"file:///with%20space/../x/", storeurl.Location{Dir: "/x"}},
		{"s3://bucket", storeurl.Location{S3: &s3.Options{Bucket: "bucket"}}},
		{"s3://bucket/", storeurl.Location{S3: &s3.Options{Bucket: "bucket"}}},
		{"s3://bucket/a/b/", storeurl.Location{S3: &s3.Options{Bucket: "bucket", Prefix: "a/b"}}},
		{
			"s3://b/p?endpoint=http://host:9000&region=eu-west-1&path-style=true&checksums=false&unquoted-etags=1",
			storeurl.Location{S3: &s3.Options{
				Bucket: "b", Prefix: "p", Endpoint: "http://host:9000", Region: "eu-west-1",
				PathStyle: true, NoChecksums: true, UnquotedETags: true,
			}},
		},
	} {
		got, err := storeurl.Parse(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", test.url, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for url, want := range map[string]string{
		"":                                      "begin with file:// or s3://",
		"/var/lib/store":                        "begin with file:// or s3://",
		"http://host/bucket":                    `unknown scheme "http"`,
		"file:relative":                         "three slashes",
		"file://host/path":                      "three slashes",
		"file://":                               "three slashes",
		"file:///a?sync=false":                  `unknown parameter "sync": this scheme has none`,
		"s3:bucket":                             "names a bucket",
		"s3:///prefix":                          "names a bucket",
		"s3://bucket:9000/":                     "endpoint=",
		"s3://key:hunter2@bucket/prefix":        "AWS_ACCESS_KEY_ID",
		"s3://key@bucket/prefix":                "AWS_ACCESS_KEY_ID",
		"s3://b?secret-key=hunter2":             `unknown parameter "secret-key": there are endpoint, region`,
		"s3://b?path_style=true":                `unknown parameter "path_style"`,
		"s3://b?path-style=maybe":               "path-style is true or false",
		"s3://b?region=a&region=b":              "given twice",
		"s3://b?endpoint=host:9000":             "such as http://host:9000",
		"s3://b?endpoint=http://u:hunter2@h/":   "credentials come from",
		"s3://b?endpoint=http://h/?key=hunter2": "only scheme, host and port",
		"s3://b/../c":                           "begins with a dot",
		"s3://b/a//c":                           "empty",
		"s3://b/p#fragment":                     "%23",
		"s3://b\x7fhunter2":                     "store URL",
		"s3://b?%zz=hunter2":                    "parameters",
	} {
		_, err := storeurl.Parse(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats the secret: %v", url, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("file:///var/lib/sluice")
	f.Add("s3://bucket/prefix?endpoint=http://host:9000&region=r&path-style=true")
	f.Add("s3://u:p@b")
	f.Fuzz(func(t *testing.T, url string) {
		loc, err := storeurl.Parse(url)
		if err != nil {
			return
		}
		if (loc.Dir == "") == (loc.S3 == nil) {
			t.Fatalf("%q: neither or both of directory and bucket: %+v", url, loc)
		}
		if loc.S3 == nil && !filepath.IsAbs(loc.Dir) {
			t.Fatalf("%q: relative directory %q", url, loc.Dir)
		}
		if loc.S3 != nil && (loc.S3.Bucket == "" || loc.S3.Prefix != "" && object.CheckKey(loc.S3.Prefix) != nil) {
			t.Fatalf("%q: %+v", url, *loc.S3)
		}
	})
}

func probe(t *testing.T, url string) {
	t.Helper()
	s, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := object.Probe(t.Context(), s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenDirectory(t *testing.T) { probe(t, "file://"+t.TempDir()+"/new") }

func TestOpenBucket(t *testing.T) {
	srv := s3server.Start(t)
	srv.Setenv(t)
	probe(t, srv.URL("some/prefix"))
}
