package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code tells a program what kind of failure it was.
type Code string

// The codes, and the HTTP status of each.
const (
	CodeInvalid      Code = "invalid"      // 400: the request makes no sense; do not repeat it
	CodeUnauthorized Code = "unauthorized" // 401: the token is missing or wrong
	CodeForbidden    Code = "forbidden"    // 403: a browser's request from elsewhere
	CodeNotFound     Code = "not_found"    // 404: no such volume, initiator or route
	CodeConflict     Code = "conflict"     // 409: not in the present state
	CodeInternal     Code = "internal"     // 500: a fault of the daemon or of its disk
	CodeUnavailable  Code = "unavailable"  // 503: the object store or the daemon cannot now; try later
)

var statuses = map[Code]int{
	CodeInvalid:      http.StatusBadRequest,
	CodeUnauthorized: http.StatusUnauthorized,
	CodeForbidden:    http.StatusForbidden,
	CodeNotFound:     http.StatusNotFound,
	CodeConflict:     http.StatusConflict,
	CodeInternal:     http.StatusInternalServerError,
	CodeUnavailable:  http.StatusServiceUnavailable,
}

// Error is a failure as it goes over the wire.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it

	cause error // for the daemon's log only
}

// Errorf makes an Error with a message. A %w in format becomes what it unwraps to.
func Errorf(code Code, format string, args ...any) *Error {
	cause := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: cause.Error(), cause: errors.Unwrap(cause)}
}

// WithHint adds what to do about it.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Error returns the message and the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + ": " + e.Hint
}

// Unwrap returns the cause, on the side where the error was made.
func (e *Error) Unwrap() error { return e.cause }

// ErrorDocument is the body of every answer that is a failure.
type ErrorDocument struct {
	Error *Error `json:"error"`
}

// AsError returns err as an Error; one of an unknown kind is internal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: err.Error(), cause: err}
}
