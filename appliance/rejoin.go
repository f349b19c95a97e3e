package appliance

import (
	"context"
	"sync"
	"time"

	"sluice/volume"
)

// background is a goroutine that can be ended. The zero value is one that does not run.
type background struct {
	stop func()
	done sync.WaitGroup
}

func (b *background) start(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	b.done.Go(func() { run(ctx) })
}

func (b *background) end() {
	if b.stop != nil {
		b.stop()
		b.done.Wait()
	}
}

// rejoinEvery is how often a gateway that was started without its object store asks for it.
const rejoinEvery = 5 * time.Second

// rejoin attaches the volumes that could not be without the object store, once it is back and was found to keep its
// promises.
func (g *Gateway) rejoin() {
	g.rejoins.start(func(ctx context.Context) {
		tick := time.NewTicker(rejoinEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			err := probeStore(ctx, g.raw, probeTime, g.log)
			if err == nil {
				err = volume.ClaimFormat(ctx, g.store, createdBy())
			}
			if err == nil {
				err = g.attachOwn(ctx)
			}
			if err == nil {
				g.log.InfoContext(ctx, "the object store is back", "volumes", len(g.serving()))
				return
			}
			if ctx.Err() == nil {
				g.log.WarnContext(ctx, "the object store is not back", "error", err)
			}
		}
	})
}
