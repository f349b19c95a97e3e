package target

import (
	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// maxSense is the longest sense data in bytes (SPC-4 4.5.1).
const maxSense = 252

// residual compares what was transferred with what the initiator expected (RFC 7143
// 11.4.5).
type residual struct {
	overflow, underflow bool
	count               uint32
}

// residual reckons with the length that the CDB asks to transfer in the direction of the
// iSCSI command; a CDB of the other direction transfers nothing.
func (m *command) residual() residual {
	asked, moved := m.Transfer, int64(0)
	switch {
	case m.write && m.taken > 0:
		moved = min(int64(m.want), asked)
	case m.write:
		asked = 0
	default:
		moved = int64(min(len(m.In), m.InMax))
		asked = max(asked, int64(len(m.In)))
	}
	if m.Status != scsi.Good {
		asked = moved
	}
	switch {
	case asked > m.expected:
		return residual{overflow: true, count: uint32(min(asked-m.expected, 1<<32-1))}
	case moved < m.expected:
		return residual{underflow: true, count: uint32(m.expected - moved)}
	}
	return residual{}
}

// sendAnswer sends the data-in of a command and its status, the two in one PDU where that
// is possible (RFC 7143 11.7.3).
func (c *conn) sendAnswer(m *command, params *login.Params) error {
	data := m.In[:min(len(m.In), m.InMax)]
	res := m.residual()
	collapse := len(data) > 0 && m.Status == scsi.Good && len(m.Sense) == 0
	sn := pdu.SN(m.r2tSN)
	room := params.MaxBurstLength
	for offset := 0; offset < len(data); {
		n := min(len(data)-offset, params.MaxSendDataSegmentLength, room)
		part := data[offset : offset+n]
		room -= n
		last := offset+n == len(data)
		d := pdu.DataIn{
			Final: last || room == 0, DataLength: uint32(n), ITT: m.itt, TTT: pdu.NoTag, DataSN: sn, Offset: uint32(offset),
		}
		if last && collapse {
			d.HasStatus, d.Status = true, byte(m.Status)
			d.Overflow, d.Underflow, d.Residual = res.overflow, res.underflow, res.count
		}
		d.Counters = c.counters(d.HasStatus)
		if room == 0 {
			room = params.MaxBurstLength
		}
		h, err := c.startPDU(n)
		if err != nil {
			return err
		}
		d.Marshal(h)
		c.finishPDU(h, part, params)
		sn++
		offset += n
	}
	c.ses.sent.Add(uint64(len(data)))
	if collapse {
		return nil
	}
	return c.sendStatus(m, res, sn, params)
}

func (c *conn) sendStatus(m *command, res residual, sn pdu.SN, params *login.Params) error {
	var data []byte
	if len(m.Sense) > 0 {
		data = pdu.AppendSense(c.sense[:0], m.Sense[:min(len(m.Sense), maxSense)])
	}
	h, err := c.startPDU(len(data))
	if err != nil {
		return err
	}
	r := pdu.SCSIResponse{
		Overflow: res.overflow, Underflow: res.underflow, Residual: res.count,
		Status: byte(m.Status), DataLength: uint32(len(data)), ITT: m.itt, ExpDataSN: sn, Counters: c.counters(true),
	}
	r.Marshal(h)
	c.finishPDU(h, data, params)
	return nil
}
