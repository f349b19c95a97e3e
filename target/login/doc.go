// Package login is the target's side of an iSCSI login (RFC 7143 sections 6, 12 and 13):
// key negotiation and CHAP as a pure state machine. Requests go in, responses come out;
// there are no sockets and no clocks, and randomness is injected, so that every dialogue
// can be replayed in a test.
//
// # The dialogue
//
// A login is a conversation in text keys, at most one request and one response under way:
//
//	initiator                                 target
//	  | SecurityNegotiation (CSG 0)             |
//	  |---- InitiatorName, TargetName, -------->|  Config.Lookup: who is it, what may it
//	  |     SessionType, AuthMethod=CHAP,None   |  reach, with which credentials?
//	  |<--- TargetPortalGroupTag, AuthMethod ---|
//	  |---- CHAP_A=7,5 ------------------------>|
//	  |<--- CHAP_A=7, CHAP_I, CHAP_C -----------|
//	  |---- CHAP_N, CHAP_R, T=1 --------------->|
//	  |<--- T=1 --------------------------------|
//	  | LoginOperationalNegotiation (CSG 1)     |
//	  |---- HeaderDigest, MaxBurstLength.. T=1->|
//	  |<--- the results, T=1, NSG 3 ------------|
//	  | full feature phase                      |
//
// Either side may skip a stage. An initiator that begins with the operational stage
// declines to authenticate, and is refused if Lookup asks for CHAP. The initiator proposes
// a change of stage with T; the target agrees with T, or keeps it clear until its own
// conditions hold. A text too long for one PDU goes on in the next (the C bit).
//
// [Machine.Step] takes one request and gives the one response to send for it. If it also
// returns an error, the response carries the refusal: send it, log the error, close the
// connection.
//
// # How keys are negotiated
//
// This target never opens a negotiation: it answers what the initiator offers, once, and
// declares what it must (MaxRecvDataSegmentLength, TargetPortalGroupTag, TargetAlias). Its
// limits are never tighter than the protocol's defaults, so an initiator that keeps
// silent about a key gets the default. The result of a number is the smaller of both
// sides' values (the larger for DefaultTime2Wait), of a boolean their AND or OR, of a list
// the first of the initiator's values that the target supports.
//
//	an answer       means
//	Reject          known, but this value is not acceptable; the default stands
//	Irrelevant      known, but without effect in this session (as in a discovery session)
//	NotUnderstood   an unknown key
//
// A key offered twice ends the login, except that the declarations of who the initiator
// is (InitiatorName, InitiatorAlias, TargetName, SessionType) may be repeated with the
// same value, as libiscsi does in each stage. Keys of the operational stage in the
// security stage, or the reverse, end it too.
//
// # What is safe here
//
// CHAP proves that the initiator holds a secret; it neither encrypts nor protects what
// follows. The challenge is fresh for each login. A wrong name and a wrong response do the
// same work and give the same answer. The target answers an initiator's own challenge
// (mutual CHAP) only after the initiator has proved itself, never if that challenge is the
// target's own, and never with a secret that is also used the other way (RFC 7143 12.1.3,
// 9.2.1). A [Secret] prints as "[redacted]", and no error contains one.
//
// All input is bounded: MaxText bytes of text and maxKeys keys at once, maxSteps requests
// in all. Time must be bounded by the caller, and so must the data segment of a single
// request, to MaxRequestData.
package login
