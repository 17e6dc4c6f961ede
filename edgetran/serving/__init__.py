"""Serves a run's winner by the Open Inference Protocol, and says whether it is as measured."""
