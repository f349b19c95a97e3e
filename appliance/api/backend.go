package api

import "context"

// Backend is what the handlers steer. Its methods may be called concurrently; their
// errors are *Error or count as internal.
type Backend interface {
	Volumes
	Attachments
	Permissions
	History
	Data
	// Status describes the gateway without waiting for the object store.
	Status(ctx context.Context) (*Status, error)
}

// Permissions say who may use volumes.
type Permissions interface {
	Initiators
	Credentials
}

// History is what volumes were.
type History interface {
	Snapshots
	Past
	Inspections
	Schedules
}

// Data is what volumes and snapshots contain, and whether it is all there.
type Data interface {
	Content
	Moments
	Scrubs
}

// Volumes makes, shows and changes volumes.
type Volumes interface {
	CreateVolume(ctx context.Context, req CreateRequest) (*Volume, error)
	ListVolumes(ctx context.Context) ([]Volume, error)
	ShowVolume(ctx context.Context, name string) (*Volume, error)
	ResizeVolume(ctx context.Context, name string, req ResizeRequest) (*Volume, error)
	// SetDurability changes what flushes of a cached volume wait for.
	SetDurability(ctx context.Context, name string, req DurabilityRequest) (*Volume, error)
	// DeleteVolume deletes; while initiators are logged in, only with force.
	DeleteVolume(ctx context.Context, name string, force bool) error
}

// Attachments moves volumes between gateways.
type Attachments interface {
	AttachVolume(ctx context.Context, name string, req AttachRequest) (*Volume, error)
	DetachVolume(ctx context.Context, name string, req DetachRequest) (*Volume, error)
}

// Initiators keeps the access lists.
type Initiators interface {
	ListInitiators(ctx context.Context, volume string) (*InitiatorList, error)
	AllowInitiator(ctx context.Context, volume, initiator string) (*InitiatorList, error)
	DenyInitiator(ctx context.Context, volume, initiator string) (*InitiatorList, error)
}

// Credentials keeps the CHAP credentials. No answer holds a secret.
type Credentials interface {
	ListCHAP(ctx context.Context, volume string) (*CHAPList, error)
	SetCHAP(ctx context.Context, volume, initiator string, req CHAPRequest) (*CHAPList, error)
	DeleteCHAP(ctx context.Context, volume, initiator string) (*CHAPList, error)
}
