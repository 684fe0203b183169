import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.models.recurrent import RecurrentCell  # noqa: E402
from torch_cell import torch_cell  # noqa: E402

SIZES, HIDDEN = {"one": 2, "two": 1, "three": 4}, 5
INPUT = sum(SIZES.values())


@pytest.fixture(params=["lstm", "gru"])
def cell(request):
    torch.manual_seed(3)
    return RecurrentCell(request.param, SIZES, HIDDEN)


def _gates(cell, inputs):
    return sum(
        cell.inputs[name](part) for name, part in zip(SIZES, inputs.split(list(SIZES.values()), -1), strict=True)
    )


def _told(reference, inputs, state):
    """torch's own module on the whole input."""
    if isinstance(reference, torch.nn.LSTMCell):
        hidden, memory = reference(inputs, (state["hidden"], state["cell"]))
        return {"hidden": hidden, "cell": memory}
    return {"hidden": reference(inputs, state["hidden"])}


def test_the_sum_over_parts_of_the_input_is_torchs_own_cell(cell):
    inputs, reference = torch.randn(4, INPUT), torch_cell(cell)
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    gates = _gates(cell, inputs)
    for _ in range(3):  # errors would add up
        expected = _told(reference, inputs, state)
        state = cell(gates, state)
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)


def test_any_leading_shape_gives_what_rows_give(cell):
    inputs = torch.randn(2, 3, INPUT)
    state = {name: torch.randn(2, 3, HIDDEN) for name in cell.state_names}
    whole = cell(_gates(cell, inputs), state)
    flat = {name: value.flatten(0, 1) for name, value in state.items()}
    rows = _told(torch_cell(cell), inputs.flatten(0, 1), flat)
    for name, value in whole.items():
        assert value.shape == (2, 3, HIDDEN)
        torch.testing.assert_close(value.flatten(0, 1), rows[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_torchs_own_cell(cell):
    inputs, reference = torch.randn(4, INPUT), torch_cell(cell)
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    for new in (cell(_gates(cell, inputs), state), _told(reference, inputs, state)):
        sum(value.square().sum() for value in new.values()).backward()
    parts = list(cell.inputs.values())
    for mine, theirs in (
        (torch.cat([part.weight.grad for part in parts], 1), reference.weight_ih.grad),
        (parts[0].bias.grad, reference.bias_ih.grad),
        (cell.recurrent.weight.grad, reference.weight_hh.grad),
        (cell.recurrent.bias.grad, reference.bias_hh.grad),
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_there_are_as_many_parameters_as_in_torchs_own_cell_and_they_are_drawn_alike(cell):
    ours, theirs = (torch.cat([p.flatten() for p in c.parameters()]) for c in (cell, torch_cell(cell)))
    assert ours.numel() == theirs.numel()
    assert 0.9 * HIDDEN**-0.5 < ours.abs().max() <= HIDDEN**-0.5


def test_the_state_stays_float32_under_autocast(cell):
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    with torch.autocast("cpu", torch.bfloat16):
        gates = _gates(cell, torch.randn(4, INPUT))
        new = cell(gates, state)
    assert gates.dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in new.values())
