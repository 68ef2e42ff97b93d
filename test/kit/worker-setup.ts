// A worker whose vitest was killed would run its test to the end, and keep what the test has started.
process.once('disconnect', () => process.exit(143));
