"""What runs when: the scheduler, the walks over a job's input, and the performance counters."""
