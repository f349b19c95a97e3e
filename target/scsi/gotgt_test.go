package scsi

import (
	"testing"

	"github.com/gostor/gotgt/pkg/api"
	gotgt "github.com/gostor/gotgt/pkg/scsi"
)

// TestNumbersAgreeWithGotgt compares our constants with those of gotgt, where it has them: two
// lists, written down from the standards by different people.
func TestNumbersAgreeWithGotgt(t *testing.T) {
	opcodes := map[Opcode]api.SCSICommandType{
		TestUnitReady: api.TEST_UNIT_READY, RequestSense: api.REQUEST_SENSE, Inquiry: api.INQUIRY,
		ModeSelect6: api.MODE_SELECT, ModeSelect10: api.MODE_SELECT_10, ModeSense6: api.MODE_SENSE, ModeSense10: api.MODE_SENSE_10,
		Reserve6: api.RESERVE, Reserve10: api.RESERVE_10, Release6: api.RELEASE, Release10: api.RELEASE_10,
		StartStopUnit: api.START_STOP, ReceiveDiagnostic: api.RECEIVE_DIAGNOSTIC, SendDiagnostic: api.SEND_DIAGNOSTIC,
		PreventAllow: api.ALLOW_MEDIUM_REMOVAL, LogSense: api.LOG_SENSE, ReportLUNs: api.REPORT_LUNS, MaintenanceIn: api.MAINT_PROTOCOL_IN,
		PersistentReserveIn: api.PERSISTENT_RESERVE_IN, PersistentReserveOut: api.PERSISTENT_RESERVE_OUT,
		Read6: api.READ_6, Read10: api.READ_10, Read12: api.READ_12, Read16: api.READ_16,
		Write6: api.WRITE_6, Write10: api.WRITE_10, Write12: api.WRITE_12, Write16: api.WRITE_16,
		WriteVerify10: api.WRITE_VERIFY, WriteVerify12: api.WRITE_VERIFY_12, WriteVerify16: api.WRITE_VERIFY_16,
		Verify10: api.VERIFY_10, Verify12: api.VERIFY_12, Verify16: api.VERIFY_16,
		PreFetch10: api.PRE_FETCH_10, PreFetch16: api.PRE_FETCH_16,
		SynchronizeCache10: api.SYNCHRONIZE_CACHE, SynchronizeCache16: api.SYNCHRONIZE_CACHE_16,
		WriteSame10: api.WRITE_SAME, WriteSame16: api.WRITE_SAME_16, Unmap: api.UNMAP, ReadDefectData10: api.READ_DEFECT_DATA,
		CompareAndWrite: api.COMPARE_AND_WRITE, OrWrite16: api.ORWRITE_16,
		ReadCapacity10: api.READ_CAPACITY, ServiceActionIn16: api.SERVICE_ACTION_IN,
	}
	for ours, theirs := range opcodes {
		if byte(ours) != byte(theirs) {
			t.Errorf("operation code %#02x, gotgt has %#02x", ours, theirs)
		}
	}
	statuses := map[Status]byte{
		Good: api.SAM_STAT_GOOD, CheckCondition: api.SAM_STAT_CHECK_CONDITION, ConditionMet: api.SAM_STAT_CONDITION_MET, Busy: api.SAM_STAT_BUSY,
		ReservationConflict: api.SAM_STAT_RESERVATION_CONFLICT, TaskSetFull: api.SAM_STAT_TASK_SET_FULL, TaskAborted: api.SAM_STAT_TASK_ABORTED,
	}
	for ours, theirs := range statuses {
		if byte(ours) != theirs {
			t.Errorf("status %#02x, gotgt has %#02x", ours, theirs)
		}
	}
	keys := map[Key]byte{
		NoSense: gotgt.NO_SENSE, NotReady: gotgt.NOT_READY, MediumError: gotgt.MEDIUM_ERROR, HardwareError: gotgt.HARDWARE_ERROR,
		IllegalRequest: gotgt.ILLEGAL_REQUEST, UnitAttention: gotgt.UNIT_ATTENTION, DataProtect: gotgt.DATA_PROTECT,
		AbortedCommand: gotgt.ABORTED_COMMAND, Miscompare: gotgt.MISCOMPARE,
	}
	for ours, theirs := range keys {
		if byte(ours) != theirs {
			t.Errorf("sense key %#02x, gotgt has %#02x", ours, theirs)
		}
	}
	codes := map[Code]gotgt.SCSISubError{
		NoAdditionalSense: gotgt.NO_ADDITIONAL_SENSE, BecomingReady: gotgt.ASC_BECOMING_READY, WriteError: gotgt.ASC_WRITE_ERROR,
		UnrecoveredReadError: gotgt.ASC_UNRECOVERED_READ, ParameterListLength: gotgt.ASC_PARAMETER_LIST_LENGTH_ERR,
		MiscompareDuringVerify: gotgt.ASC_MISCOMPARE_DURING_VERIFY_OPERATION, InvalidOpcode: gotgt.ASC_INVALID_OP_CODE,
		LBAOutOfRange: gotgt.ASC_LBA_OUT_OF_RANGE, InvalidFieldInCDB: gotgt.ASC_INVALID_FIELD_IN_CDB, LUNotSupported: gotgt.ASC_LUN_NOT_SUPPORTED,
		InvalidFieldInList: gotgt.ASC_INVALID_FIELD_IN_PARMS, InvalidReleaseOfPR: gotgt.ASC_INVALID_RELEASE_OF_PERSISTENT_RESERVATION,
		WriteProtected: gotgt.ASC_WRITE_PROTECT, PowerOn: gotgt.ASC_POWERON_RESET, ModeParametersChanged: gotgt.ASC_MODE_PARAMETERS_CHANGED,
		ReservationsPreempted: gotgt.ASC_RESERVATIONS_PREEMPTED, ReservationsReleased: gotgt.ASC_RESERVATIONS_RELEASED,
		SavingNotSupported: gotgt.ASC_SAVING_PARMS_UNSUP, InternalFailure: gotgt.ASC_INTERNAL_TGT_FAILURE,
		InsufficientRegistrants: gotgt.ASC_INSUFFICIENT_REGISTRATION_RESOURCES,
	}
	for ours, theirs := range codes {
		if uint16(ours) != uint16(theirs) {
			t.Errorf("additional sense code %#04x, gotgt has %#04x", ours, theirs)
		}
	}
	actions := map[int]byte{
		ReadCapacity16: byte(api.SAI_READ_CAPACITY_16), GetLBAStatus: byte(api.SAI_GET_LBA_STATUS),
		prRegister: gotgt.PR_OUT_REGISTER, prReserve: gotgt.PR_OUT_RESERVE, prRelease: gotgt.PR_OUT_RELEASE, prClear: gotgt.PR_OUT_CLEAR,
		prPreempt: gotgt.PR_OUT_PREEMPT, prPreemptAndAbort: gotgt.PR_OUT_PREEMPT_AND_ABORT,
		prRegisterAndIgnore: gotgt.PR_OUT_REGISTER_AND_IGNORE_EXISTING_KEY,
	}
	for ours, theirs := range actions {
		if ours != int(theirs) {
			t.Errorf("service action %d, gotgt has %d", ours, theirs)
		}
	}
	types := map[prType]byte{
		writeExclusive: gotgt.PR_TYPE_WRITE_EXCLUSIVE, exclusiveAccess: gotgt.PR_TYPE_EXCLUSIVE_ACCESS,
		writeExclusiveRegs: gotgt.PR_TYPE_WRITE_EXCLUSIVE_REGONLY, exclusiveAccessRegs: gotgt.PR_TYPE_EXCLUSIVE_ACCESS_REGONLY,
		writeExclusiveAll: gotgt.PR_TYPE_WRITE_EXCLUSIVE_ALLREG, exclusiveAccessAll: gotgt.PR_TYPE_EXCLUSIVE_ACCESS_ALLREG,
	}
	for ours, theirs := range types {
		if byte(ours) != theirs {
			t.Errorf("reservation type %d, gotgt has %d", ours, theirs)
		}
	}
}
