import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.models.recurrent import RecurrentCell  # noqa: E402

INPUT, HIDDEN = 7, 5


@pytest.fixture(params=["lstm", "gru"])
def cell(request):
    torch.manual_seed(3)
    return RecurrentCell(request.param, INPUT, HIDDEN)


def _reference(cell, inputs, state):
    """torch's own module on the whole input."""
    if cell.kind == "lstm":
        hidden, memory = cell.cell(inputs, (state["hidden"], state["cell"]))
        return {"hidden": hidden, "cell": memory}
    return {"hidden": cell.cell(inputs, state["hidden"])}


def test_the_sum_over_parts_of_the_input_is_torchs_own_cell(cell):
    inputs = torch.randn(4, INPUT)
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    gates = cell.inputs(inputs[:, :2], 0) + cell.inputs(inputs[:, 2:3], 2) + cell.inputs(inputs[:, 3:], 3, bias=True)
    for _ in range(3):  # errors would add up
        expected = _reference(cell, inputs, state)
        state = cell(gates, state)
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)


def test_any_leading_shape_gives_what_rows_give(cell):
    inputs = torch.randn(2, 3, INPUT)
    state = {name: torch.randn(2, 3, HIDDEN) for name in cell.state_names}
    whole = cell(cell.inputs(inputs, 0, bias=True), state)
    rows = _reference(cell, inputs.flatten(0, 1), {name: value.flatten(0, 1) for name, value in state.items()})
    for name, value in whole.items():
        assert value.shape == (2, 3, HIDDEN)
        torch.testing.assert_close(value.flatten(0, 1), rows[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_torchs_own_cell(cell):
    inputs = torch.randn(4, INPUT)
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    found = []
    for new in (cell(cell.inputs(inputs, 0, bias=True), state), _reference(cell, inputs, state)):
        cell.zero_grad()
        sum(value.square().sum() for value in new.values()).backward()
        found.append({name: parameter.grad.clone() for name, parameter in cell.named_parameters()})
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-6)


def test_the_state_stays_float32_under_autocast(cell):
    state = {name: torch.randn(4, HIDDEN) for name in cell.state_names}
    with torch.autocast("cpu", torch.bfloat16):
        gates = cell.inputs(torch.randn(4, INPUT), 0, bias=True)
        new = cell(gates, state)
    assert gates.dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in new.values())
