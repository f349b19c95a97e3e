package login

import "testing"

// What real initiators say, in their own order of keys.
func TestInitiators(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		script string
		want   func(*Params)
	}{
		{
			"open-iscsi without authentication", open(), `
			I 0>1 ` + names + ` InitiatorAlias=host SessionType=Normal AuthMethod=None
			T 0>1 TargetPortalGroupTag=1 AuthMethod=None
			I 1>3 HeaderDigest=None,CRC32C DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0
			  IFMarker=No OFMarker=No ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes
			  MaxBurstLength=16776192 FirstBurstLength=262144 MaxOutstandingR2T=1 MaxConnections=1
			  DataPDUInOrder=Yes DataSequenceInOrder=Yes MaxRecvDataSegmentLength=262144
			T 1>3 HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0
			  IFMarker=No OFMarker=No ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes
			  MaxBurstLength=16776192 FirstBurstLength=262144 MaxOutstandingR2T=1 MaxConnections=1
			  DataPDUInOrder=Yes DataSequenceInOrder=Yes MaxRecvDataSegmentLength=262144`,
			func(p *Params) {
				p.InitiatorAlias, p.InitialR2T, p.DefaultTime2Retain = "host", false, 0
				p.MaxBurstLength, p.FirstBurstLength = 16776192, 262144
				p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 262144
			},
		},
		{
			"open-iscsi with mutual CHAP", guarded(), `
			I 0 ` + names + ` InitiatorAlias=host SessionType=Normal AuthMethod=CHAP,None
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=7,5
			T 0 CHAP_A=7 CHAP_I=* CHAP_C=*
			I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_I=200 CHAP_C=0x00112233445566778899aabbccddeeff
			T 0>1 CHAP_N=sluice CHAP_R=$M(another_staple_entirely)
			I 1>3 HeaderDigest=CRC32C DataDigest=CRC32C MaxRecvDataSegmentLength=131072
			T 1>3 HeaderDigest=CRC32C DataDigest=CRC32C MaxRecvDataSegmentLength=262144`,
			func(p *Params) {
				p.InitiatorAlias, p.User, p.Algorithm, p.Mutual = "host", user, SHA256, true
				p.HeaderDigest, p.DataDigest = true, true
				p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 131072
			},
		},
		{
			"open-iscsi discovering", open(), `
			I 0>1 InitiatorName=` + initiatorName + ` InitiatorAlias=host SessionType=Discovery AuthMethod=None
			T 0>1 AuthMethod=None
			I 1>3 HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0
			  IFMarker=No OFMarker=No ErrorRecoveryLevel=0 MaxRecvDataSegmentLength=32768
			T 1>3 HeaderDigest=None DataDigest=None DefaultTime2Wait=2 DefaultTime2Retain=0
			  IFMarker=No OFMarker=No ErrorRecoveryLevel=0 MaxRecvDataSegmentLength=262144`,
			func(p *Params) {
				p.InitiatorAlias, p.Target, p.Discovery, p.PortalGroup = "host", "", true, 1
				p.DefaultTime2Retain = 0
				p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 32768
			},
		},
		{
			"open-iscsi discovering, without an operational stage", open(), `
			I 0>3 InitiatorName=` + initiatorName + ` SessionType=Discovery AuthMethod=None
			T 0>3 AuthMethod=None`,
			func(p *Params) { p.Target, p.Discovery = "", true },
		},
		{
			"libiscsi without authentication", open(), `
			I 1>3 InitiatorName=` + initiatorName + ` InitiatorAlias=libiscsi TargetName=` + targetName + `
			  SessionType=Normal HeaderDigest=None,CRC32C DataDigest=None InitialR2T=No ImmediateData=Yes
			  MaxBurstLength=262144 FirstBurstLength=262144 DefaultTime2Wait=2 DefaultTime2Retain=0
			  MaxOutstandingR2T=1 ErrorRecoveryLevel=0 IFMarker=No OFMarker=No MaxConnections=1
			  MaxRecvDataSegmentLength=262144 DataPDUInOrder=Yes DataSequenceInOrder=Yes
			T 1>3 TargetPortalGroupTag=1 HeaderDigest=None DataDigest=None InitialR2T=No ImmediateData=Yes
			  MaxBurstLength=262144 FirstBurstLength=262144 DefaultTime2Wait=2 DefaultTime2Retain=0
			  MaxOutstandingR2T=1 ErrorRecoveryLevel=0 IFMarker=No OFMarker=No MaxConnections=1
			  MaxRecvDataSegmentLength=262144 DataPDUInOrder=Yes DataSequenceInOrder=Yes`,
			func(p *Params) {
				p.InitiatorAlias, p.InitialR2T, p.DefaultTime2Retain = "libiscsi", false, 0
				p.FirstBurstLength = 262144
				p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 262144
			},
		},
		// It asks for a transition with its offer, and says who it is again in each stage.
		{
			"libiscsi with CHAP", guarded(), `
			I 0>1 ` + normal + ` AuthMethod=CHAP,None
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=5
			T 0 CHAP_A=5 CHAP_I=* CHAP_C=*
			I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery)
			T 0>1
			I 1>3 ` + normal + ` HeaderDigest=None,CRC32C DataDigest=None
			T 1>3 HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength=262144`,
			func(p *Params) {
				p.User, p.Algorithm, p.MaxRecvDataSegmentLength = user, MD5, 262144
			},
		},
		// Its conformance suite lists all algorithms, MD5 first, and then uses MD5.
		{
			"libiscsi's CHAP test", guarded(), `
			I 0>1 ` + normal + ` AuthMethod=CHAP,None
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=5,6,7,8
			T 0 CHAP_A=5 CHAP_I=* CHAP_C=*
			I 0>3 CHAP_N=alice CHAP_R=$R(correct_horse_battery)
			T 0>3`,
			func(p *Params) { p.User, p.Algorithm = user, MD5 },
		},
		{
			"libiscsi discovering", open(), `
			I 1>3 InitiatorName=` + initiatorName + ` SessionType=Discovery HeaderDigest=None,CRC32C DataDigest=None
			  InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 FirstBurstLength=262144
			  MaxOutstandingR2T=1 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes
			T 1>3 HeaderDigest=None DataDigest=None InitialR2T=Irrelevant ImmediateData=Irrelevant
			  MaxBurstLength=Irrelevant FirstBurstLength=Irrelevant MaxOutstandingR2T=Irrelevant
			  MaxConnections=Irrelevant DataPDUInOrder=Irrelevant DataSequenceInOrder=Irrelevant
			  MaxRecvDataSegmentLength=262144`,
			func(p *Params) { p.Target, p.Discovery, p.MaxRecvDataSegmentLength = "", true, 262144 },
		},
		{
			"an initiator in the manner of Windows", open(), `
			I 0>1 InitiatorName=` + initiatorName + ` SessionType=Normal AuthMethod=None TargetName=` + targetName + `
			T 0>1 TargetPortalGroupTag=1 AuthMethod=None
			I 1>3 HeaderDigest=None,CRC32C DataDigest=None,CRC32C ErrorRecoveryLevel=2 InitialR2T=No ImmediateData=Yes
			  MaxRecvDataSegmentLength=65536 MaxBurstLength=262144 FirstBurstLength=65536 MaxConnections=1
			  DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=60 MaxOutstandingR2T=16
			T 1>3 HeaderDigest=None DataDigest=None ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes
			  MaxRecvDataSegmentLength=262144 MaxBurstLength=262144 FirstBurstLength=65536 MaxConnections=1
			  DataPDUInOrder=Yes DataSequenceInOrder=Yes DefaultTime2Wait=0 DefaultTime2Retain=0 MaxOutstandingR2T=16`,
			func(p *Params) {
				p.InitialR2T, p.DefaultTime2Wait, p.DefaultTime2Retain, p.MaxOutstandingR2T = false, 0, 0, 16
				p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 65536
			},
		},
		// RFC 7143 appendix B: the login begins with the operational stage, over several PDUs.
		{
			"the RFC's login without security", open(), `
			I 1 ` + normal + ` InitialR2T=No
			T 1 TargetPortalGroupTag=1 InitialR2T=No MaxRecvDataSegmentLength=262144
			I 1 MaxBurstLength=0x4000 X-com.example.colour=blue
			T 1 MaxBurstLength=16384 X-com.example.colour=NotUnderstood
			I 1>3
			T 1>3`,
			func(p *Params) {
				p.InitialR2T, p.MaxBurstLength, p.FirstBurstLength = false, 16384, 16384
				p.MaxRecvDataSegmentLength = 262144
			},
		},
		// The target agrees to a method while the initiator does not propose to go on yet.
		{
			"one that confirms before it goes on", open(), `
			I 0 ` + normal + ` AuthMethod=KRB5,SRP,CHAP,None
			T 0 TargetPortalGroupTag=1 AuthMethod=None
			I 0>1
			T 0>1
			I 1>3
			T 1>3 MaxRecvDataSegmentLength=262144`,
			func(p *Params) { p.MaxRecvDataSegmentLength = 262144 },
		},
		{
			"one that offers no AuthMethod where none is needed", open(), `
			I 0>3 ` + names + `
			T 0>3 TargetPortalGroupTag=1`,
			func(*Params) {},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := script(c.script)
			l := play(t, c.cfg, steps)
			if !l.last.Done {
				t.Fatal("the login is not done")
			}
			want := defaults()
			want.Initiator, want.Target, want.PortalGroup = initiatorName, targetName, 1
			want.ISID, want.CID, want.CmdSN, want.ExpStatSN = [6]byte{0x80, 1}, 1, 77, 88
			c.want(&want)
			if got := l.m.Params(); got != want {
				t.Errorf("got\n%+v, want\n%+v", got, want)
			}
			if got, _ := l.send("1>3"); got != "refused 020b" {
				t.Errorf("a request after the end was answered %s", got)
			}
		})
	}
}
