package scsi

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
)

// ModePage is a mode page or subpage (SPC-4 7.5). Values do not include the page header.
type ModePage struct {
	Code, Subpage byte
	Default       []byte
	Changeable    []byte                 // bits that MODE SELECT may set
	current       atomic.Pointer[[]byte] // never changed, only replaced
	saved         []byte                 // what it begins with; protected by Unit.mu
}

// reset makes the saved values current (SPC-4 5.11).
func (p *ModePage) reset() { p.set(p.saved) }

func (p *ModePage) set(value []byte) {
	value = slices.Clone(value)
	p.current.Store(&value)
}

func (p *ModePage) value() []byte { return *p.current.Load() }

func (p *ModePage) append(b []byte, value []byte, savable bool) []byte {
	code := p.Code
	if savable {
		code |= 0x80 // PS
	}
	if p.Subpage != 0 {
		b = append(b, code|0x40, p.Subpage)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	} else {
		b = append(b, code, byte(len(value)))
	}
	return append(b, value...)
}

// ControlPage returns the control mode page (SPC-4 7.5.7), with D_SENSE and SWP changeable.
func ControlPage() *ModePage {
	return &ModePage{
		Code:       0x0a,
		Default:    []byte{0x02 /* GLTSD */, 0x10 /* unrestricted reordering */, 0, 0, 0, 0, 0, 0, 0, 0},
		Changeable: []byte{0x04, 0, 0x08, 0, 0, 0, 0, 0, 0, 0},
	}
}

// Mode returns a byte of a mode page's current value, or 0. It takes no lock.
func (u *Unit) Mode(code byte, at int) byte {
	for _, p := range u.pages {
		if value := p.value(); p.Code == code && p.Subpage == 0 && at < len(value) {
			return value[at]
		}
	}
	return 0
}

// applyModes brings what is kept apart for speed up to date. The caller holds mu.
func (u *Unit) applyModes() { u.descriptor.Store(u.Mode(0x0a, 0)&0x04 != 0) }

// modeSense carries out MODE SENSE (6) and (10) (SPC-4 6.11 and 6.12).
func (u *Unit) modeSense(_ context.Context, c *Command) {
	long := c.CDB[0] == 0x5a
	allocation := int(c.CDB[4])
	if long {
		allocation = int(binary.BigEndian.Uint16(c.CDB[7:]))
	}
	control, code, subpage := c.CDB[2]>>6, c.CDB[2]&0x3f, c.CDB[3]
	if control == 3 && u.cfg.Modes == nil {
		u.Fail(c, Illegal(SavingNotSupported))
		return
	}
	u.mu.Lock()
	b := append(c.In[:0], make([]byte, 8)...)
	if !long {
		b = b[:4]
	}
	head := len(b)
	if c.CDB[1]&0x08 == 0 { // DBD: no block descriptor wanted
		b = u.appendBlockDescriptor(b, long && c.CDB[1]&0x10 != 0)
	}
	descriptors := len(b) - head
	found := false
	for _, p := range u.pages {
		if code != 0x3f && code != p.Code || subpage != 0xff && subpage != p.Subpage {
			continue
		}
		found = true
		value := p.value()
		switch control {
		case 1:
			value = p.Changeable
		case 2:
			value = p.Default
		case 3:
			value = p.saved
		}
		b = p.append(b, value, u.savable(p))
	}
	u.mu.Unlock()
	specific := byte(0)
	if u.cfg.Specific != nil {
		specific = u.cfg.Specific()
	}
	if !found {
		u.Fail(c, BadField(2, 5))
		return
	}
	if long {
		binary.BigEndian.PutUint16(b, uint16(len(b)-2))
		b[3] = specific
		if c.CDB[1]&0x10 != 0 && descriptors > 0 {
			b[4] = 0x01
		}
		binary.BigEndian.PutUint16(b[6:], uint16(descriptors))
	} else {
		b[0], b[2], b[3] = byte(len(b)-1), specific, byte(descriptors)
	}
	c.In = b
	u.Answer(c, allocation)
}

func (u *Unit) appendBlockDescriptor(b []byte, long bool) []byte {
	if u.cfg.Blocks == nil {
		return b
	}
	blocks, size := u.cfg.Blocks()
	if long {
		b = binary.BigEndian.AppendUint64(b, blocks)
		b = append(b, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint32(b, size)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(min(blocks, 1<<32-1)))
	return binary.BigEndian.AppendUint32(b, size)
}

// modeSelect carries out MODE SELECT (6) and (10) (SPC-4 6.9 and 6.10). All of the list is
// checked before anything of it counts.
func (u *Unit) modeSelect(ctx context.Context, c *Command) {
	if c.CDB[1]&0x10 == 0 {
		u.Fail(c, BadField(1, 4)) // PF: vendor-specific pages are not known
		return
	}
	save := c.CDB[1]&0x01 != 0
	if save && u.cfg.Modes == nil {
		u.Fail(c, BadField(1, 0)) // SP: nothing is saved
		return
	}
	if len(c.Out) == 0 && u.OutLength(c.CDB) == 0 {
		c.Complete()
		return
	}
	if int64(len(c.Out)) < u.OutLength(c.CDB) {
		u.Fail(c, Illegal(ParameterListLength))
		return
	}
	head, descriptors := 4, 0
	if c.CDB[0] == 0x55 {
		head = 8
	}
	if len(c.Out) < head {
		u.Fail(c, Illegal(ParameterListLength))
		return
	}
	if descriptors = int(c.Out[3]); head == 8 {
		descriptors = int(binary.BigEndian.Uint16(c.Out[6:]))
	}
	if bad := u.checkDescriptor(c.Out, head, descriptors); bad != nil {
		u.Fail(c, *bad)
		return
	}
	u.mu.Lock()
	bad, changed := u.selectPages(c.Out, head+descriptors)
	if changed {
		u.applyModes()
		u.attention(c.Nexus, ModeParametersChanged)
	}
	u.mu.Unlock()
	if bad != nil {
		u.Fail(c, *bad)
		return
	}
	c.Transfer = int64(len(c.Out))
	u.selected(ctx, c, changed, save)
}

// selected completes a MODE SELECT that has changed pages, or is to save them.
func (u *Unit) selected(ctx context.Context, c *Command, changed, save bool) {
	changed = changed && u.cfg.Selected != nil
	if !changed && !save {
		c.Complete()
		return
	}
	u.Go(ctx, c, func(ctx context.Context) {
		var err error
		if changed {
			err = u.cfg.Selected(ctx)
		}
		if err == nil && save {
			err = u.saveModes(ctx)
		}
		u.Finished(c)
		if err != nil {
			u.cfg.Logger.Error("applying mode pages", "error", err)
			u.Fail(c, Sense{Key: HardwareError, Code: InternalFailure})
			return
		}
		c.Complete()
	})
}

// checkDescriptor refuses a block descriptor that would change the length of blocks
// (SPC-4 7.5.6); the number of blocks in it is ignored.
func (u *Unit) checkDescriptor(list []byte, head, length int) *Sense {
	long := head == 8 && list[4]&0x01 != 0
	at, whole := head+5, 8 // three bytes of block length
	if long {
		at, whole = head+12, 16
	}
	switch {
	case length == 0:
		return nil
	case len(list) < head+length:
		s := Illegal(ParameterListLength)
		return &s
	case u.cfg.Blocks == nil || length != whole:
		s := BadParameter(head-1, 7)
		return &s
	}
	var size uint32
	for _, b := range list[at : head+length] {
		size = size<<8 | uint32(b)
	}
	if _, have := u.cfg.Blocks(); size != have {
		s := BadParameter(at, 7)
		return &s
	}
	return nil
}

// selectPages checks the pages of a list from byte at on, and then makes them current.
func (u *Unit) selectPages(list []byte, at int) (bad *Sense, changed bool) {
	next := make([][]byte, len(u.pages))
	for at < len(list) {
		i, value, size := u.findPage(list[at:])
		if i < 0 {
			s := BadParameter(at, 5)
			if size > len(list)-at {
				s = Illegal(ParameterListLength)
			}
			return &s, false
		}
		p, first := u.pages[i], at+size-len(value)
		for k, b := range value {
			if diff := (b ^ p.value()[k]) &^ p.Changeable[k]; diff != 0 {
				s := BadParameter(first+k, highest(diff))
				return &s, false
			}
		}
		next[i] = value
		at += size
	}
	if at > len(list) {
		s := Illegal(ParameterListLength)
		return &s, false
	}
	for i, value := range next {
		if value != nil {
			changed = changed || string(value) != string(u.pages[i].value())
			u.pages[i].set(value)
		}
	}
	return nil, changed
}

// findPage returns the index of the page that b begins with, its value and its whole length.
func (u *Unit) findPage(b []byte) (i int, value []byte, size int) {
	head, subpage := 2, byte(0)
	if len(b) < 2 {
		return -1, nil, 2
	}
	length := int(b[1])
	if b[0]&0x40 != 0 {
		if len(b) < 4 {
			return -1, nil, 4
		}
		head, subpage, length = 4, b[1], int(binary.BigEndian.Uint16(b[2:]))
	}
	if head+length > len(b) {
		return -1, nil, head + length
	}
	for i, p := range u.pages {
		if p.Code == b[0]&0x3f && p.Subpage == subpage && len(p.Default) == length {
			return i, b[head:][:length], head + length
		}
	}
	return -1, nil, 0
}
