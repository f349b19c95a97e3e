// Package storeurl opens object stores by URL, with no decorators around them:
//
//	file:///var/lib/sluice/store
//	s3://bucket
//	s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1&path-style=true
//
// The parameters of s3:// are
//
//	endpoint        URL of the server; without it, AWS
//	region          without it, what the AWS SDK finds
//	path-style      true: http://host/bucket/key instead of http://bucket.host/key
//	checksums       false: send no CRC32C with bodies, for servers that refuse it
//	unquoted-etags  true: conditions carry ETags without quotes
//
// Anything else is an error, and so is a secret: a URL is printed and logged, so
// credentials come by the AWS SDK's usual chain.
package storeurl
