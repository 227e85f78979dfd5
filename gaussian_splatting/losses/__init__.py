"""Losses and metrics: functions of tensors, without state."""
