"""What models are judged on: the sets of the gate, and the suites that no training sees."""
