package appliance

import (
	"errors"

	"github.com/google/uuid"

	"sluice/target/sbc"
)

// newUnit makes a disk device server.
func newUnit(uuid.UUID, sbc.Disk) (*unit, error) {
	return nil, errors.New("not wired yet")
}
