"""Trainings on a preference dataset: a DPO model and a reward model.

In: `preference_dataset` (schemas.PREFERENCE) and a base model. Out: a model folder that loads with
from_pretrained, or a LoRA adapter; metrics.jsonl, training_config.json and two curves.

    comparisons → base_model → session (TRL's trainer, callbacks, checkpoints) → export → report

Command: `python -m activeuf_core.training --config job.json --run-dir DIR`.
"""
