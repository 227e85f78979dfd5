"""The command line: how commands start, speak and fail, and the flags that they share."""
