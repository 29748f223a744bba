"""Trainings on a preference dataset: a DPO model and a reward model."""
