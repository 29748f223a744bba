"""The log that is published with a training."""

from __future__ import annotations

import logging
import warnings

import pytest

from activeuf_core.paths import TRAINING_LOG
from activeuf_core.stage import StageContext
from activeuf_core.training.config import TrainingConfig
from activeuf_core.training.training_log import kept_log
from tests.core.training.conftest import FAST, MakeTraining

CONFIG = TrainingConfig.model_validate(FAST)


@pytest.fixture
def context(make_training: MakeTraining) -> StageContext:
    return make_training("dpo_model")


def text(context: StageContext) -> str:
    return (context.output / TRAINING_LOG).read_text()


def test_settings_steps_and_versions_are_kept(dpo: StageContext) -> None:
    found = text(dpo)
    assert "dpo_model[test] begins, code" in found
    assert '"learning_rate": 0.005' in found
    assert "step 16 of 16: loss" in found
    assert "dpo_model[test] is trained, with python" in found
    assert "trl 1." in found


@pytest.mark.filterwarnings("default")
def test_warnings_are_kept_wherever_they_come_from(context: StageContext) -> None:
    with kept_log(context, CONFIG):
        warnings.warn("of Python", stacklevel=1)
        logging.getLogger("transformers.trainer").warning("of a library")
        logging.getLogger("somewhere").info("of ours")
    for words in ("of Python", "of a library", "of ours"):
        assert words in text(context)


def test_nothing_is_kept_after_the_training(context: StageContext) -> None:
    level, handlers = logging.getLogger().level, list(logging.getLogger().handlers)
    with kept_log(context, CONFIG):
        pass
    logging.getLogger("somewhere").warning("too late")
    assert "too late" not in text(context)
    assert (logging.getLogger().level, logging.getLogger().handlers) == (level, handlers)


def test_the_next_attempt_goes_on_in_the_same_log(context: StageContext) -> None:
    with pytest.raises(SystemExit), kept_log(context, CONFIG):
        raise SystemExit(143)
    (context.output / TRAINING_LOG).unlink()  # as the stage does before it begins again
    with kept_log(context, CONFIG):
        pass
    assert text(context).count("dpo_model[test] begins") == 2
    assert text(context).index("ended: SystemExit: 143") < text(context).index("is trained")


def test_of_several_processes_the_first_keeps_it(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with kept_log(context, CONFIG):
        pass
    assert not (context.output / TRAINING_LOG).exists()
