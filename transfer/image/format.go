package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Format is a format of disk images, by the name that QEMU has for it.
type Format string

// The formats. All but Raw need QEMU's tools.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VHDX  Format = "vhdx"
	VPC   Format = "vpc" // VHD
	VDI   Format = "vdi"
)

var (
	readable = []Format{Raw, QCOW2, VMDK, VHDX, VPC, VDI}
	writable = []Format{Raw, QCOW2, VMDK, VHDX}
)

// ParseReadable returns the format of that name if images of it can be imported; empty is empty.
func ParseReadable(name string) (Format, error) { return parse(name, readable) }

// ParseWritable returns the format of that name if images of it can be exported.
func ParseWritable(name string) (Format, error) { return parse(name, writable) }

func parse(name string, list []Format) (Format, error) {
	f := Format(strings.ToLower(name))
	if f == "vhd" {
		f = VPC
	}
	if !slices.Contains(list, f) {
		names := make([]string, len(list))
		for i, f := range list {
			names[i] = string(f)
		}
		return "", fmt.Errorf("format %q is not one of %s", name, strings.Join(names, ", "))
	}
	return f, nil
}

// headLength is how much of an image Detect wants to see, in bytes.
const headLength = 512

// Detect tells the format of an image by how it begins and by its last 512 bytes, either of which may be empty. What it does not know
// is raw.
func Detect(head, tail []byte) Format {
	for magic, format := range map[string]Format{
		"QFI\xfb": QCOW2, "KDMV": VMDK, "COWD": VMDK, "# Disk DescriptorFile": VMDK, "vhdxfile": VHDX, "conectix": VPC,
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return format
		}
	}
	if len(head) >= 0x44 && binary.LittleEndian.Uint32(head[0x40:]) == 0xbeda107f {
		return VDI
	}
	if bytes.HasPrefix(tail, []byte("conectix")) { // a VHD of fixed size is raw with a footer
		return VPC
	}
	return Raw
}
