"""An LSTM or GRU cell whose input part may be computed for all time steps at once.

N rows (any leading shape), I input size, H hidden size, G gates (4 for LSTM, 3 for GRU).
"""

from torch import Tensor, nn
from torch.nn import functional as F


class RecurrentCell(nn.Module):
    """torch's own cell and parameters, taken apart: `inputs` is linear and can be summed over parts of the input.

    The state is a dict of "hidden" and, for the LSTM, "cell", each (N, H).
    """

    def __init__(self, kind: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.kind = kind
        self.hidden_size = hidden_size
        self.cell = nn.LSTMCell(input_size, hidden_size) if kind == "lstm" else nn.GRUCell(input_size, hidden_size)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("hidden", "cell") if self.kind == "lstm" else ("hidden",)

    def inputs(self, part: Tensor, start: int, *, bias: bool = False) -> Tensor:
        """What the input's columns from `start` on, `part` (N, i), add to the gates: (N, G * H)."""
        weight = self.cell.weight_ih[:, start : start + part.shape[-1]]
        return F.linear(part, weight, self.cell.bias_ih if bias else None)

    def forward(self, inputs: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Input part of the gates (N, G * H), bias included, and the state -> the new state."""
        hidden = state["hidden"]
        recurrent = F.linear(hidden, self.cell.weight_hh, self.cell.bias_hh)  # (N, G * H)
        # Under autocast the products come in bf16; the state itself must not lose bits at every word.
        inputs, recurrent = inputs.float(), recurrent.float()
        if self.kind == "lstm":
            i, f, g, o = (inputs + recurrent).chunk(4, -1)
            cell = f.sigmoid() * state["cell"] + i.sigmoid() * g.tanh()
            return {"hidden": o.sigmoid() * cell.tanh(), "cell": cell}
        input_r, input_z, input_n = inputs.chunk(3, -1)
        recurrent_r, recurrent_z, recurrent_n = recurrent.chunk(3, -1)
        reset = (input_r + recurrent_r).sigmoid()
        update = (input_z + recurrent_z).sigmoid()
        new = (input_n + reset * recurrent_n).tanh()
        return {"hidden": new + update * (hidden - new)}
