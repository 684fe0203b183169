"""Several decoders that tell a caption together: a word's probability is the mean of theirs.

M members, B pictures, K hypotheses per picture, V words, R regions and D region size of a member.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from showtell.decoding.protocol import Array, Arrays, Memory, State, StepDecoder


@dataclass(frozen=True)
class MemberRegions:
    """What each member of an ensemble sees of the same B pictures: M arrays (B, R, D) of its own R and D.

    Its length is B, and an index or a slice takes pictures, as it does of one array.
    """

    parts: tuple[Array, ...]

    def __post_init__(self) -> None:
        counts = [len(part) for part in self.parts]
        if len(set(counts)) != 1:
            raise ValueError(f"regions of {counts} pictures, expected as many of each member")

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, pictures: Any) -> "MemberRegions":
        return MemberRegions(tuple(part[pictures] for part in self.parts))


class EnsembleDecoder:
    """A `StepDecoder` (see `protocol.py`) over others with the same words; its regions are `MemberRegions`.

    A word's probability is the mean of the members', whose order changes no more than the rounding. One member alone,
    or one several times, gives its own log-probabilities to the bit. The attention is the first member's: others may
    look at other regions.
    """

    def __init__(self, members: Sequence[StepDecoder], arrays: Arrays) -> None:
        """`arrays` are those of the members' backend. Raises `ValueError` where there is no member."""
        if not members:
            raise ValueError("an ensemble of no decoders, expected one or more")
        self.members, self._arrays = tuple(members), arrays

    def start(self, regions: MemberRegions) -> tuple[dict[str, Array], dict[str, Array]]:
        """Each member's regions -> memory and state of all, the names prefixed by the member's number."""
        memory: dict[str, Array] = {}
        state: dict[str, Array] = {}
        for number, (member, part) in enumerate(zip(self.members, regions.parts, strict=True)):
            its_memory, its_state = member.start(part)
            memory |= _prefixed(number, its_memory)
            state |= _prefixed(number, its_state)
        return memory, state

    def step(self, tokens: Array, state: State, memory: Memory) -> tuple[Array, dict[str, Array], Array]:
        """Tokens (B, K) -> log-probabilities of the mean (B, K, V), new state, the first's attention (B, K, R)."""
        told: list[Array] = []
        looked: list[Array] = []
        new: dict[str, Array] = {}
        for number, member in enumerate(self.members):
            log_probs, its_state, attention = member.step(tokens, _own(number, state), _own(number, memory))
            told.append(log_probs)
            looked.append(attention)
            new |= _prefixed(number, its_state)
        return self._arrays.mean_probability(told), new, looked[0]


def _prefixed(number: int, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{number}.{name}": array for name, array in arrays.items()}


def _own(number: int, arrays: Mapping[str, Array]) -> dict[str, Array]:
    prefix = f"{number}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
