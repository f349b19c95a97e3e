package stored

import "context"

// Reconcile is what a volume that was opened without the bucket does from time to time.
func Reconcile(ctx context.Context, v *Volume) error { return v.reconcile(ctx) }
