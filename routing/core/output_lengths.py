"""How long answers are, learned per API key and model: what a request is expected to write.

A mean over the latest answers of a key at a model, shrunk to the mean of all keys at that model, and
that to what is assumed of an unknown one. Sums add up, so processes can tell each other.
"""

from __future__ import annotations

from collections import OrderedDict

from routing.core.request import DEFAULT_OUTPUT_TOKENS
from routing.core.sightings import LengthSighting

MOST_KNOWN = 20_000  # pairs of key and model; the longest unused is forgotten
PRIOR_ANSWERS = 5.0  # that the more general figure counts as
MOST_ANSWERS = 100.0  # that the past counts as: then it is halved
EVERY_KEY = 0


class _Sum:
    __slots__ = ("answers", "tokens", "untold_answers", "untold_tokens")

    def __init__(self) -> None:
        self.answers = self.tokens = 0.0
        self.untold_answers = self.untold_tokens = 0.0

    def add(self, answers: float, tokens: float) -> None:
        self.answers += answers
        self.tokens += tokens
        if self.answers > MOST_ANSWERS:
            excess = MOST_ANSWERS / 2.0 / self.answers
            self.answers *= excess
            self.tokens *= excess

    def mean(self, prior: float) -> float:
        return (self.tokens + PRIOR_ANSWERS * prior) / (self.answers + PRIOR_ANSWERS)


class OutputLengths:
    """One per gateway process. What is noted counts from the next `settle` on."""

    __slots__ = ("_changed", "_expected", "_fresh", "_known")

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, str], _Sum] = OrderedDict()
        self._changed: set[tuple[int, str]] = set()
        self._fresh: dict[tuple[int, str], list[int]] = {}  # answers and tokens, not yet settled
        self._expected: dict[tuple[int, str], int] = {}  # until the sums change; 0: nothing known

    def expected(self, key_id: int, model: str) -> int:
        """Tokens; 0 where nothing was learned of the model."""
        pair = (key_id, model)
        found = self._expected.get(pair)
        if found is None:
            if len(self._expected) >= MOST_KNOWN:
                self._expected.clear()
            found = self._expected[pair] = self._work_out(pair)
        return found

    def note(self, key_id: int, model: str, tokens: int) -> None:
        found = self._fresh.get((key_id, model))
        if found is None:
            self._fresh[key_id, model] = [1, tokens]
        else:
            found[0] += 1
            found[1] += tokens

    def settle(self) -> None:
        """To be called a few times a second."""
        if self._fresh:
            fresh, self._fresh = self._fresh, {}
            for (key_id, model), (answers, tokens) in fresh.items():
                self._add(key_id, model, float(answers), float(tokens), untold=True)
            self._expected.clear()

    def _work_out(self, pair: tuple[int, str]) -> int:
        of_all = self._known.get((EVERY_KEY, pair[1]))
        if of_all is None:
            return 0
        mean = of_all.mean(DEFAULT_OUTPUT_TOKENS)
        of_key = self._known.get(pair)
        if of_key is not None:
            mean = of_key.mean(mean)
        return max(round(mean), 1)

    def tell(self) -> list[LengthSighting]:
        """What was learned here since the last call."""
        self.settle()
        told: list[LengthSighting] = []
        for pair in self._changed:
            found = self._known.get(pair)
            if found is not None and found.untold_answers:
                told.append(LengthSighting(*pair, found.untold_answers, found.untold_tokens))
                found.untold_answers = found.untold_tokens = 0.0
        self._changed.clear()
        return told

    def hear(self, sightings: list[LengthSighting]) -> None:
        for one in sightings:
            if one.is_sound:
                self._add(one.key_id, one.model, one.answers, one.tokens, untold=False)
        self._expected.clear()

    def _add(self, key_id: int, model: str, answers: float, tokens: float, *, untold: bool) -> None:
        pair = (key_id, model)
        found = self._of(pair)
        found.add(answers, tokens)
        self._of((EVERY_KEY, model)).add(answers, tokens)
        if untold:
            found.untold_answers += answers
            found.untold_tokens += tokens
            self._changed.add(pair)

    def _of(self, pair: tuple[int, str]) -> _Sum:
        known = self._known
        found = known.get(pair)
        if found is None:
            found = known[pair] = _Sum()
            if len(known) > MOST_KNOWN:
                known.popitem(last=False)
        else:
            known.move_to_end(pair)
        return found
