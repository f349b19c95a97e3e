package pdu

// TaskFunction is a task management function (RFC 7143 11.5.1, RFC 7144 5.1).
type TaskFunction byte

// Task management functions. Those from TaskQuery on need iSCSIProtocolLevel 2.
const (
	TaskAbort           TaskFunction = 1
	TaskAbortSet        TaskFunction = 2
	TaskClearACA        TaskFunction = 3
	TaskClearSet        TaskFunction = 4
	TaskLUReset         TaskFunction = 5
	TaskTargetWarmReset TaskFunction = 6
	TaskTargetColdReset TaskFunction = 7
	TaskReassign        TaskFunction = 8
	TaskQuery           TaskFunction = 9
	TaskQuerySet        TaskFunction = 10
	TaskNexusReset      TaskFunction = 11
	TaskQueryAsyncEvent TaskFunction = 12
)

// TaskResult is the response to a task management function (RFC 7143 11.6.1).
type TaskResult byte

// Responses to task management functions.
const (
	TaskComplete            TaskResult = 0
	TaskNotFound            TaskResult = 1 // task does not exist
	TaskNoLUN               TaskResult = 2 // LUN does not exist
	TaskStillAllegiant      TaskResult = 3
	TaskReassignUnsupported TaskResult = 4
	TaskUnsupported         TaskResult = 5
	TaskUnauthorized        TaskResult = 6
	TaskSucceeded           TaskResult = 7 // RFC 7144
	TaskRejected            TaskResult = 255
)

// TaskRequest is a Task Management Function Request (RFC 7143 11.5).
type TaskRequest struct {
	Immediate     bool
	Function      TaskFunction // seven bits
	LUN           uint64
	ITT           uint32
	ReferencedTag uint32 // ITT of the task to act on, or NoTag
	CmdSN         SN
	ExpStatSN     SN
	RefCmdSN      SN // CmdSN of the task to act on
	ExpDataSN     SN // of TaskReassign
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *TaskRequest) Unmarshal(h *Header) {
	r.Immediate = h.Immediate()
	r.Function = TaskFunction(h[1] & 0x7f)
	r.LUN = h.LUN()
	r.ITT = h.ITT()
	r.ReferencedTag = h.u32(20)
	r.CmdSN = h.sn(24)
	r.ExpStatSN = h.sn(28)
	r.RefCmdSN = h.sn(32)
	r.ExpDataSN = h.sn(36)
}

// Marshal sets all of h.
func (r *TaskRequest) Marshal(h *Header) {
	h.start(OpTaskRequest, flagFinal|byte(r.Function)&0x7f, 0, r.ITT)
	h.setImmediate(r.Immediate)
	h.put64(8, r.LUN)
	h.put32(20, r.ReferencedTag)
	h.putSN(24, r.CmdSN)
	h.putSN(28, r.ExpStatSN)
	h.putSN(32, r.RefCmdSN)
	h.putSN(36, r.ExpDataSN)
}

// TaskResponse is a Task Management Function Response (RFC 7143 11.6).
type TaskResponse struct {
	Result TaskResult
	ITT    uint32
	Counters
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *TaskResponse) Unmarshal(h *Header) {
	r.Result = TaskResult(h[2])
	r.ITT = h.ITT()
	r.Counters = h.counters()
}

// Marshal sets all of h.
func (r *TaskResponse) Marshal(h *Header) {
	h.start(OpTaskResponse, flagFinal, 0, r.ITT)
	h[2] = byte(r.Result)
	h.PutCounters(r.Counters)
}
