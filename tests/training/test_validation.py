import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.data.example import Example  # noqa: E402
from showtell.metrics.bleu import bleu  # noqa: E402
from showtell.metrics.cider import cider_d  # noqa: E402
from showtell.tokenizers import split_words  # noqa: E402
from showtell.training.dataset import Picture  # noqa: E402
from showtell.training.validation import attended, load_rows, valid_targets, validate  # noqa: E402
from showtell.vocabulary import START  # noqa: E402
from tiny_training import FEATURES, LEARNING, PIXELS, tiny_trainer  # noqa: E402


@pytest.fixture(scope="module", params=[FEATURES, PIXELS], ids=["features", "pixels"])
def trained(request, few_shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("validated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        trainer, _ = tiny_trainer(few_shapes, folder / "run", *LEARNING, base=request.param)
        assert trainer.train()
    return trainer


def _validate(trainer, pictures, batch=50, **changes):
    import dataclasses

    options = dataclasses.replace(trainer.recipe.decoding, **changes)
    return validate(trainer.model, trainer.store, pictures, trainer.run.vocabulary, options, trainer.group, batch)


def test_scores_are_those_of_the_captions_that_it_tells(trained):
    pictures = trained.splits.val
    found = _validate(trained, pictures)
    assert list(found.captions) == [picture.example.id for picture in pictures]
    candidates = [" ".join(split_words(caption)) for caption in found.captions.values()]
    references = [[" ".join(split_words(c)) for c in picture.example.captions] for picture in pictures]
    assert found.scores["CIDEr"] == pytest.approx(100 * cider_d(candidates, references)[0])
    assert found.scores["BLEU-4"] == pytest.approx(100 * bleu(candidates, references)[0][3])
    assert found.scores == pytest.approx({k: trained.progress.history[-1][f"val {k}"] for k in found.scores})


@torch.no_grad()
def _greedy(trainer, picture):
    """The likeliest word each time, and the loss of the true captions, one step after another."""
    decoder, vocabulary = trainer.model.decoder.eval(), trainer.run.vocabulary
    inputs, _ = load_rows(trainer.store, [picture.row], trainer.device)
    memory, state = decoder.start(trainer.model.eval().regions(inputs))
    losses = []
    for caption in picture.captions:
        at, last = state, START
        for word in caption:
            log_probs, at, _ = decoder.step(torch.tensor([[last]]), at, memory)
            losses.append(-float(log_probs[0, 0, word]))
            last = word
    spoken, at, last = [], state, START
    for t in range(trainer.recipe.decoding.max_words):
        log_probs, at, _ = decoder.step(torch.tensor([[last]]), at, memory)
        log_probs[0, 0, [0, 1, 3]] = -torch.inf  # no padding, start mark or unknown word is ever told
        if t == 0:
            log_probs[0, 0, 2] = -torch.inf  # one word at least
        last = int(log_probs.argmax())
        if last == 2:
            break
        spoken.append(vocabulary.words[last])
    return " ".join(spoken), losses


def test_captions_and_loss_are_those_of_single_steps(trained):
    pictures = trained.splits.val
    found = _validate(trained, pictures, beam_width=1, no_repeat_ngram=0, no_repeat_phrase=False)
    told, losses = zip(*(_greedy(trained, picture) for picture in pictures), strict=True)
    assert list(found.captions.values()) == list(told)
    words = [loss for of_picture in losses for loss in of_picture]
    assert found.scores["loss"] == pytest.approx(sum(words) / len(words), rel=1e-4)


def test_the_size_of_a_batch_changes_nothing(trained):
    whole, single = _validate(trained, trained.splits.val), _validate(trained, trained.splits.val, batch=1)
    assert whole.captions == single.captions
    assert whole.scores == pytest.approx(single.scores, rel=1e-4)


def test_validation_leaves_the_weights_and_statistics_alone(trained):
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    _validate(trained, trained.splits.val)
    assert all(torch.equal(value, before[name]) for name, value in trained.model.state_dict().items())


def test_a_reference_without_a_known_word_still_counts(trained):
    picture = trained.splits.val[0]
    silent = Picture(Example(id="silent", image=picture.example.image, captions=("...",), split="val"), picture.row, ())
    both = _validate(trained, [*trained.splits.val, silent])
    assert "silent" in both.captions
    assert both.scores["loss"] == pytest.approx(_validate(trained, trained.splits.val).scores["loss"], rel=1e-4)
    assert _validate(trained, [silent]).scores["loss"] == 0


def test_attention_of_a_caption_is_a_map_for_each_word_that_sums_to_one(trained):
    pictures = trained.splits.val[:2]
    grid = trained.run.encoder.grid
    captions = attended(
        trained.model, trained.store, pictures, trained.run.vocabulary, trained.recipe.decoding, trained.device, grid
    )
    told = _validate(trained, pictures).captions
    for picture, caption in zip(pictures, captions, strict=True):
        assert caption.text == told[picture.example.id]
        assert caption.attention.shape == (len(caption.tokens), *grid)
        assert caption.attention.sum((1, 2)) == pytest.approx(1, abs=1e-4)


def test_targets_come_in_the_order_of_the_decoders_words():
    targets = torch.arange(12).view(1, 3, 4)
    assert valid_targets(targets, torch.tensor([[3, 1, 0]])).tolist() == [0, 1, 2, 4]
