"""The one evaluator: metrics, slices, intervals, comparison."""
