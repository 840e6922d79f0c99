"""Jobs over processes: every result at its place, errors as themselves, a lost process as one line."""

import os
import signal

import pytest
import torch

from sim.errors import BadInputError, WorkerLostError
from sim.processes import spread


def _square(job):
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "bad":
        raise BadInputError("expected a number, got bad")
    return job * job


@pytest.mark.parametrize("n_workers", [1, 2, 9])
def test_spread_gives_every_result_with_its_place(n_workers):
    assert sorted(spread(_square, [3, 1, 2], n_workers)) == [(0, 9), (1, 1), (2, 4)]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_spread_raises_the_error_of_a_job_as_itself(n_workers):
    with pytest.raises(BadInputError, match="got bad"):
        list(spread(_square, [1, "bad", 2], n_workers))


def test_spread_names_the_job_of_a_lost_process_in_one_line():
    with pytest.raises(WorkerLostError, match="ended by itself at job die") as error:
        list(spread(_square, [1, "die", 2], 2, lambda job: f"job {job}"))
    assert "\n" not in str(error.value)


class _Total:
    def __init__(self, tensors):
        self.tensors = tensors

    def __call__(self, job):
        return job + float(sum(tensor.sum() for tensor in self.tensors))


def test_processes_take_more_tensors_than_a_process_has_descriptors():
    total = _Total([torch.ones(2) for _ in range(1500)])
    assert dict(spread(total, [1, 2, 3], 2)) == {0: 3001.0, 1: 3002.0, 2: 3003.0}
