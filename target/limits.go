package target

import "time"

// Limits bound what initiators can make the target spend. A zero field means its default.
type Limits struct {
	Connections   int           // open at once, over all portals; default 1024
	PendingPerIP  int           // of those, not yet logged in, from one address; default 32
	AcceptRate    int           // connections that a portal accepts a second, after a burst; default 1000
	ControlRate   int           // pings, texts, rejects and the like that one connection may send a second, after a burst; what is more waits in its socket; default 5000
	Sessions      int           // logged in at once; default 512
	LoginTime     time.Duration // from accept to the end of the login; default 15 s
	PingAfter     time.Duration // silence after which a ping is sent, and again that long until the connection is dropped; default 30 s
	WriteTime     time.Duration // that one write to an initiator may take; default 60 s
	LogoutTime    time.Duration // that initiators have to log out of a target that is removed; default 3 s
	CommandWindow int           // commands that one session may have in flight; default 128
	SessionMemory int           // bytes of data buffers that one session may fill before its transfers wait for each other; default 64 MiB
	Memory        int           // bytes of data buffers of all sessions: one may fill no more than are left; default 512 MiB
	MaxTransfer   int           // bytes of data-out of one command, at most SessionMemory; default 32 MiB
}

func (l Limits) withDefaults() Limits {
	number := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	duration := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	number(&l.Connections, 1024)
	number(&l.PendingPerIP, 32)
	number(&l.AcceptRate, 1000)
	number(&l.ControlRate, 5000)
	number(&l.Sessions, 512)
	duration(&l.LoginTime, 15*time.Second)
	duration(&l.PingAfter, 30*time.Second)
	duration(&l.WriteTime, 60*time.Second)
	duration(&l.LogoutTime, 3*time.Second)
	number(&l.CommandWindow, 128)
	number(&l.SessionMemory, 64<<20)
	number(&l.Memory, 512<<20)
	number(&l.MaxTransfer, 32<<20)
	l.MaxTransfer = min(l.MaxTransfer, l.SessionMemory)
	return l
}

// smallTransfer is what a command may take without asking for memory, in bytes: with a
// window of 128 commands, that is 8 MiB a session at most.
const smallTransfer = 64 << 10
