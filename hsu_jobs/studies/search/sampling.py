"""At which point is the next trial? Asked of Optuna, whose study is built anew from the trials each time.

The sampler gets a seed of the trial's own, fields are drawn in the order of their names, and trials are told in the
order of their numbers: so the same trials always lead to the same point. Optuna is imported when it is first asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hsu_jobs.studies.plan import At
from hsu_jobs.studies.search.spec import Choices, FloatRange, IntRange, Search, Space, as_text
from hsu_jobs.studies.search.trials import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


def next_point(search: Search, space: Space, trials: Sequence[Trial], *, higher_is_better: bool) -> At:
    """The point of the trial that follows these. Those that count as running have no value yet.

    `space`: the fields of the search that this arm has.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize", sampler=_sampler(search, len(trials))
    )
    distributions = {pointer: _distribution(space[pointer]) for pointer in sorted(space)}
    study.add_trials([_told(trial, space, distributions) for trial in trials])
    drawn = study.ask(distributions).params
    return {pointer: _value(space[pointer], drawn[pointer]) for pointer in distributions}


def _sampler(search: Search, number: int) -> BaseSampler:
    """With a seed for each trial: the draws of one do not depend on how often others were asked."""
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(np.random.SeedSequence((search.seed, number)).generate_state(1)[0])
    if search.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, constant_liar=True)  # away from the points of trials that run


def _distribution(searched: FloatRange | IntRange | Choices) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(searched, Choices):
        return CategoricalDistribution(range(len(searched.choices)))
    if isinstance(searched, FloatRange):
        return FloatDistribution(searched.low, searched.high, log=searched.log)
    return IntDistribution(searched.low, searched.high, log=searched.log)


def _told(trial: Trial, space: Space, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    ended = TrialState.FAIL if trial.value is None else TrialState.COMPLETE
    return create_trial(
        state=ended if trial.has_ended else TrialState.RUNNING,
        value=trial.value if trial.has_ended else None,
        params={pointer: _drawn(space[pointer], trial.point[pointer]) for pointer in distributions},
        distributions=distributions,
    )


def _value(searched: FloatRange | IntRange | Choices, drawn: Any) -> Any:
    """The value of a field: of a float six digits, which people can read and copy."""
    if isinstance(searched, Choices):
        return searched.choices[drawn]
    if isinstance(searched, FloatRange):
        return min(max(float(f"{drawn:.6g}"), float(searched.low)), float(searched.high))
    return int(drawn)


def _drawn(searched: FloatRange | IntRange | Choices, value: Any) -> Any:
    """What was drawn for a value: of a choice its place."""
    if not isinstance(searched, Choices):
        return value
    return [as_text(choice) for choice in searched.choices].index(as_text(value))
