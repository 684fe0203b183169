"""Mixed precision: where it is chosen, and that it trains."""

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.training.checkpoint import latest_checkpoint, read_state  # noqa: E402
from showtell.training.device import choose_autocast  # noqa: E402
from showtell.training.sampling import epoch_batches  # noqa: E402
from tiny_training import PIXELS, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_the_recipe_says_holds_on_every_device(device):
    assert choose_autocast("bf16", device) is True
    assert choose_autocast("off", device) is False


@pytest.mark.parametrize(
    ("capabilities", "gains"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({}, False),
    ],
)
def test_a_processor_gains_where_it_multiplies_bf16_itself(monkeypatch, capabilities, gains):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_autocast("auto", CPU) is gains


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_gains_where_it_supports_bf16(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert choose_autocast("auto", CUDA) is supported


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bf16_learns_and_keeps_the_weights_in_float32(few_shapes, tmp_path, cell):
    losses = {}
    for amp in ("off", "bf16"):
        settings = [f"training.amp={amp}", f"decoder.cell={cell}", "training.learning_rate=5e-3"]
        trainer, _ = tiny_trainer(few_shapes, tmp_path / amp, *settings, base=PIXELS)
        assert trainer.autocast is (amp == "bf16")
        losses[amp] = []
        for epoch in range(12):
            trainer.progress.loss_sum, trainer.progress.words, trainer.progress.step = 0.0, 0, 0
            for batch in epoch_batches(trainer.splits.train, trainer.options, epoch):
                trainer._step(batch)
            losses[amp].append(trainer.progress.loss_sum / trainer.progress.words)
        tensors = [*trainer.model.parameters(), *(p.grad for p in trainer.model.parameters())]
        assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert losses["bf16"][-1] < 0.8 * losses["bf16"][0]
    assert losses["bf16"] != losses["off"]
    assert losses["bf16"] == pytest.approx(losses["off"], rel=0.1)


def test_going_on_with_another_precision_is_noted(few_shapes, tmp_path):
    trainer, _ = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=1", "training.amp=off")
    assert trainer.train()
    assert read_state(latest_checkpoint(tmp_path / "run"))[1]["bf16"] is False
    same, said = tiny_trainer(few_shapes, tmp_path / "run", "training.epochs=1", "training.amp=off", resume=True)
    assert said == []
    same.autocast = True
    same.resume()
    assert said == ["note: bf16 was False, is True: weights may differ in the last bits from an uninterrupted run"]
