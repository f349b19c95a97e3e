package scsi

// Opcode is the first byte of a CDB (SPC-4 4.2.5.1, annex F.3).
type Opcode byte

// Operation codes that all device types share (SPC-4 6.1).
const (
	TestUnitReady        Opcode = 0x00
	RequestSense         Opcode = 0x03
	Inquiry              Opcode = 0x12
	ModeSelect6          Opcode = 0x15
	Reserve6             Opcode = 0x16
	Release6             Opcode = 0x17
	ModeSense6           Opcode = 0x1a
	StartStopUnit        Opcode = 0x1b
	ReceiveDiagnostic    Opcode = 0x1c
	SendDiagnostic       Opcode = 0x1d
	PreventAllow         Opcode = 0x1e
	LogSense             Opcode = 0x4d
	ModeSelect10         Opcode = 0x55
	Reserve10            Opcode = 0x56
	Release10            Opcode = 0x57
	ModeSense10          Opcode = 0x5a
	PersistentReserveIn  Opcode = 0x5e // PERSISTENT RESERVE IN
	PersistentReserveOut Opcode = 0x5f
	ReportLUNs           Opcode = 0xa0
	MaintenanceIn        Opcode = 0xa3
)

// Operation codes of disks (SBC-3 5.1).
const (
	Read6              Opcode = 0x08
	Write6             Opcode = 0x0a
	ReadCapacity10     Opcode = 0x25
	Read10             Opcode = 0x28
	Write10            Opcode = 0x2a
	WriteVerify10      Opcode = 0x2e
	Verify10           Opcode = 0x2f
	PreFetch10         Opcode = 0x34
	SynchronizeCache10 Opcode = 0x35
	ReadDefectData10   Opcode = 0x37
	WriteSame10        Opcode = 0x41
	Unmap              Opcode = 0x42
	ThirdPartyCopyOut  Opcode = 0x83 // EXTENDED COPY and its like (SPC-4 6.4.1)
	ThirdPartyCopyIn   Opcode = 0x84 // RECEIVE COPY RESULTS and its like
	Read16             Opcode = 0x88
	CompareAndWrite    Opcode = 0x89
	Write16            Opcode = 0x8a
	OrWrite16          Opcode = 0x8b
	WriteVerify16      Opcode = 0x8e
	Verify16           Opcode = 0x8f
	PreFetch16         Opcode = 0x90
	SynchronizeCache16 Opcode = 0x91
	WriteSame16        Opcode = 0x93
	WriteAtomic16      Opcode = 0x9c
	ServiceActionIn16  Opcode = 0x9e
	Read12             Opcode = 0xa8
	Write12            Opcode = 0xaa
	WriteVerify12      Opcode = 0xae
	Verify12           Opcode = 0xaf
	ReadDefectData12   Opcode = 0xb7
)

// Service actions of THIRD-PARTY COPY OUT and THIRD-PARTY COPY IN (SPC-4 tables 148 and 149).
const (
	ExtendedCopy            = 0x00 // EXTENDED COPY (LID1)
	PopulateToken           = 0x10
	WriteUsingToken         = 0x11
	CopyStatus              = 0x00 // RECEIVE COPY STATUS (LID1)
	CopyOperatingParameters = 0x03
	FailedSegmentDetails    = 0x04
	ReceiveTokenInformation = 0x07
)

// Service actions of MAINTENANCE IN (SPC-4 table 322) and SERVICE ACTION IN (16) (SBC-3
// table 25).
const (
	ReportTargetPortGroups = 0x0a
	ReportSupportedOps     = 0x0c
	ReportSupportedTMFs    = 0x0d
	ReadCapacity16         = 0x10
	GetLBAStatus           = 0x12
)
