// Package harness runs the gateway as its users do: the real binary, in a process of
// its own, driven through its command line, so that a test can kill it for real.
//
//	gw := harness.Start(t, harness.Options{Store: "file:///somewhere"})
//	gw.CreateVolume("demo", "1GiB")
//	harness.Run(t, "qemu-img", "convert", ..., gw.URL("demo"))
//	gw.Kill()    // SIGKILL
//	gw.Restart() // the same data directory, store and addresses
//
// It also has the load and verify client (see [Verify]), and decides what happens on
// a machine where something is missing: [Missing] skips the test with the reason, or,
// where SLUICE_REQUIRE=1 says that everything must be there, fails it.
package harness
