"""torch's own LSTM and GRU cells as references."""

import torch
from torch import nn


def torch_cell(cell):
    """torch's cell with the weights of our `RecurrentCell`; it reads the parts of the input in their order."""
    kind = nn.LSTMCell if cell.kind == "lstm" else nn.GRUCell
    parts = list(cell.inputs.values())
    reference = kind(sum(part.in_features for part in parts), cell.recurrent.in_features)
    with torch.no_grad():
        reference.weight_ih.copy_(torch.cat([part.weight for part in parts], 1))
        reference.bias_ih.copy_(parts[0].bias)
        reference.weight_hh.copy_(cell.recurrent.weight)
        reference.bias_hh.copy_(cell.recurrent.bias)
    return reference
