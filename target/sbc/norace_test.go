//go:build !race

package sbc

const racing = false
