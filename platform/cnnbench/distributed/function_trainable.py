"""A trial of one worker: a Tune function in a warm process."""

import logging
from typing import Any

import ray
import torch
from ray import tune

from cnnbench.trial.isolation import isolate
from cnnbench.trial.run import explain, run_trial
from cnnbench.trial.spec import TrialImagesRef, TrialSpec, payload

log = logging.getLogger(__name__)


def tune_trial(config: dict[str, Any], material: TrialImagesRef) -> None:
    """A Tune function for one worker; with reuse_actors its process, data and imports stay warm between trials."""
    isolate()
    spec = TrialSpec.from_config(config)
    device = torch.device("cuda" if spec.gpus else "cpu")
    try:
        run_trial(spec, ray.get(material.ref), device, tune.report)
    except Exception as error:  # a trial's own fault ends the trial, not the study
        log.exception("trial %s", spec.trial_id)  # into this process's file among Ray's session logs
        status, reason = explain(error)
        tune.report(payload("end", status=status, reason=reason))
