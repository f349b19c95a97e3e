package main

import (
	"errors"
	"fmt"

	"sluice/appliance/api"
)

// The exit statuses; the help text and the package comment have them, too.
const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnreachable = 5
)

const exitHelp = `Exit status:
  0  done
  1  anything that is not below
  2  usage: the command or a value in it makes no sense
  3  not found: no such volume, or no such initiator
  4  conflict: not in the present state, such as deleting a volume in use
  5  the daemon cannot be reached`

// ranError marks an error of a verb that was understood and ran; cobra's own errors, which
// are all about usage, are not marked.
type ranError struct{ err error }

func (e *ranError) Error() string { return e.err.Error() }
func (e *ranError) Unwrap() error { return e.err }

// usageError is a value on the command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitCode returns the exit status for a failure.
func exitCode(err error) int {
	if _, ran := errors.AsType[*ranError](err); !ran {
		return exitUsage
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*api.UnreachableError](err); ok {
		return exitUnreachable
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		switch e.Code {
		case api.CodeInvalid:
			return exitUsage
		case api.CodeNotFound:
			return exitNotFound
		case api.CodeConflict:
			return exitConflict
		default:
		}
	}
	return exitOther
}

// document returns a failure as the API would have told it.
func document(err error) api.ErrorDocument {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		e = &api.Error{Code: api.CodeInternal, Message: err.Error()}
		switch exitCode(err) {
		case exitUsage:
			e.Code = api.CodeInvalid
		case exitUnreachable:
			e.Code = api.CodeUnavailable
		}
	}
	return api.ErrorDocument{Error: e}
}
