"""LSTM and GRU: a cell whose input may be computed in parts, for all time steps at once, and a stack of layers.

N rows (any leading shape), I input size, H hidden size, G gates (4 for LSTM, 3 for GRU); B pictures, K captions of
each, M captions in all, T words.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class RecurrentCell(nn.Module):
    """An LSTM or GRU cell whose input has named parts, each with a matrix of its own.

    The parts' products add up, so that those of words, known beforehand in training, are made for all words at once.
    The parameters are those of torch's cell, cut into parts: as many, drawn alike. The state is a dict of "hidden" and,
    for the LSTM, "cell", each (N, H).
    """

    def __init__(self, kind: str, sizes: Mapping[str, int], hidden_size: int) -> None:
        super().__init__()
        self.kind = kind
        gates = (4 if kind == "lstm" else 3) * hidden_size
        first = next(iter(sizes))
        # part (N, I) -> what it adds to the gates (N, G * H); the first brings the bias
        self.inputs = nn.ModuleDict({name: nn.Linear(size, gates, bias=name == first) for name, size in sizes.items()})
        self.recurrent = nn.Linear(hidden_size, gates)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("hidden", "cell") if self.kind == "lstm" else ("hidden",)

    def forward(self, inputs: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum of all parts of the gates' input (N, G * H) and the state -> the new state."""
        # Under autocast the products come in bf16; the state itself must not lose bits at every word.
        return advance(self.kind, inputs.float(), self.recurrent(state["hidden"]).float(), state)


class RecurrentStack(nn.Module):
    """Layers of torch's own `nn.LSTM` or `nn.GRU`: one word when called, or all words of all captions.

    Without attention, what is read at a word does not depend on what was told before, so that whole sentences go
    through torch's fused kernels. The state is a dict of "hidden0", "hidden1", ..., one for each layer, and for the
    LSTM "cell0", "cell1", ...; the numbers begin at `first`, for a decoder with several stacks.
    """

    def __init__(self, kind: str, input_size: int, hidden_size: int, layers: int = 1, *, first: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.hidden_size = hidden_size
        self.parts = ("hidden", "cell") if kind == "lstm" else ("hidden",)  # of a layer's state
        self.layers = range(first, first + layers)
        network = nn.LSTM if kind == "lstm" else nn.GRU
        self.network = network(input_size, hidden_size, layers, batch_first=True)

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(f"{part}{layer}" for layer in self.layers for part in self.parts)

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Zeros (..., H) each, for inputs `like` (..., I)."""
        return {name: like.new_zeros(*like.shape[:-1], self.hidden_size) for name in self.state_names}

    def sentences(self, inputs: Tensor, lengths: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Inputs (M, T, I), lengths (M,) above 0, state (M, H) each -> hidden state of the top layer (M, T, H).

        It is zero past the end of a caption: nothing is computed there.
        """
        parts = [torch.stack([state[f"{part}{layer}"].float() for layer in self.layers]) for part in self.parts]
        # In float32 under autocast too: the state must not lose bits at every word.
        with torch.autocast(inputs.device.type, enabled=False):
            packed = pack_padded_sequence(inputs.float(), lengths.cpu(), batch_first=True, enforce_sorted=False)
            told, _ = self.network(packed, tuple(parts) if self.kind == "lstm" else parts[0])
        top: Tensor = pad_packed_sequence(told, batch_first=True, total_length=inputs.shape[1])[0]
        return top

    def forward(self, inputs: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Inputs (B, K, I), state (B, K, H) each -> hidden state of the top layer (B, K, H), new state.

        The new state stands in the order of `state_names`, by which the exported graph names it.
        """
        new: dict[str, Tensor] = {}
        # Written out, so that an exported graph holds nothing but products, sums, sigmoid and tanh.
        for layer, (weight_ih, weight_hh, bias_ih, bias_hh) in zip(self.layers, self.network.all_weights, strict=True):
            hidden = state[f"hidden{layer}"]
            # Products may come in bf16 under autocast, the state stays float32.
            read = F.linear(inputs, weight_ih, bias_ih).float()  # (B, K, G * H)
            kept = F.linear(hidden, weight_hh, bias_hh).float()  # (B, K, G * H)
            before = {part: state[f"{part}{layer}"] for part in self.parts}
            after = advance(self.kind, read, kept, before)
            new |= {f"{part}{layer}": value for part, value in after.items()}
            inputs = after["hidden"]
        return inputs, new


def advance(kind: str, inputs: Tensor, recurrent: Tensor, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the input and the hidden state add to the gates, (..., G * H) each, and the state (..., H) -> the new state.

    torch's own order of gates, and torch's GRU, which resets behind the recurrent product.
    """
    if kind == "lstm":
        i, f, g, o = (inputs + recurrent).chunk(4, -1)
        cell = f.sigmoid() * state["cell"] + i.sigmoid() * g.tanh()
        return {"hidden": o.sigmoid() * cell.tanh(), "cell": cell}
    input_r, input_z, input_n = inputs.chunk(3, -1)
    recurrent_r, recurrent_z, recurrent_n = recurrent.chunk(3, -1)
    new = (input_n + (input_r + recurrent_r).sigmoid() * recurrent_n).tanh()
    return {"hidden": new + (input_z + recurrent_z).sigmoid() * (state["hidden"] - new)}
