package volume

import "context"

// Renew is what a volume does each minute.
func (v *Volume) Renew(ctx context.Context) error { return v.renew(ctx) }
