"""Pure behaviour: no server, no clock but the test’s."""
