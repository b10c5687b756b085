"""The benchmarks: medians, and ratios against a baseline of the same run. Never a test, since machines differ."""
