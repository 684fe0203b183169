"""What is learnt from beside a data set's captions: further ones, text without pictures, teachers, word vectors."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.errors import CheckpointError, DataError, RecipeError  # noqa: E402
from showtell.models.word_vectors import begin_with, read_word_vectors  # noqa: E402
from showtell.recipe_reader import read_recipe  # noqa: E402
from showtell.training.checkpoint import latest_checkpoint  # noqa: E402
from showtell.training.lessons import add_captions, read_examples, text_examples  # noqa: E402
from showtell.training.prepare import prepare  # noqa: E402
from showtell.training.request import Request  # noqa: E402
from showtell.training.run import open_run  # noqa: E402
from showtell.training.sampling import epoch_batches  # noqa: E402
from showtell.vocabulary import Vocabulary  # noqa: E402
from tiny_training import FEATURES, LEARNING, TINY, tiny_trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def _trainer(data, out, *settings, resume=False, start_from=None, **asked):
    said = []
    recipe = None if resume else read_recipe(TINY, [*FEATURES, *settings])
    request = Request(data=data, **asked)
    return prepare(request, out, recipe=recipe, resume=resume, start_from=start_from, say=said.append), said


def _train_examples(data):
    return [example for example in read_examples(Request(data=data)) if example.split == "train"]


# Further captions


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_captions_are_added_to_their_pictures_by_id_and_by_path(few_shapes, tmp_path):
    first, second, *_ = examples = _train_examples(few_shapes)
    file = _write(
        tmp_path / "told.jsonl",
        [
            {"id": first.id, "path": "elsewhere.png", "caption": "a red dot"},
            {"path": str(second.image), "caption": "a blue dot"},
            {"path": str(second.image), "caption": "one more"},
            {"path": "broken.png", "error": "damaged"},
        ],
    )
    more = add_captions(examples, [file], alone=False).examples
    assert more[0].captions == (*first.captions, "a red dot")
    assert more[1].captions == (*second.captions, "a blue dot", "one more")
    assert more[2:] == examples[2:]
    alone = add_captions(examples, [file], alone=True).examples
    assert [(e.id, e.captions) for e in alone] == [(first.id, ("a red dot",)), (second.id, ("a blue dot", "one more"))]


def test_a_picture_of_nobodys_is_learnt_from_too(few_shapes, tmp_path):
    shutil.copy(_train_examples(few_shapes)[0].image, tmp_path / "new.png")
    file = _write(tmp_path / "told.jsonl", [{"path": "new.png", "caption": "a small red circle"}])
    settings = ("training.captions=added", "training.epochs=1")
    trainer, _ = _trainer(few_shapes, tmp_path / "run", *settings, captions=(file,))
    assert [picture.example.image for picture in trainer.splits.train] == [tmp_path / "new.png"]
    assert len(trainer.splits.val) == 6
    assert trainer.train()
    assert open_run(tmp_path / "run").source.captions == [str(file)]


def test_nothing_is_learnt_of_pictures_that_are_to_judge(few_shapes, tmp_path):
    own = _train_examples(few_shapes)
    held = [example for example in read_examples(Request(data=few_shapes)) if example.split in ("val", "test")]
    shutil.copy(held[0].image, tmp_path / "copy.png")  # the same picture under another name
    (tmp_path / "link.png").symlink_to(held[1].image)
    rows = [
        {"id": own[0].id, "caption": "a red dot"},
        {"id": held[2].id, "path": "elsewhere.png", "caption": "by its id"},
        {"path": str(held[3].image), "caption": "by its path"},
        {"path": "copy.png", "caption": "by its bytes"},
        {"path": "link.png", "caption": "by where it leads"},
    ]
    file = _write(tmp_path / "told.jsonl", rows)
    trainer, said = _trainer(few_shapes, tmp_path / "run", captions=(file,))
    assert "note: 4 captions of --captions are left out: their pictures are of val or test" in said
    learnt = {picture.example.id for picture in trainer.splits.train}
    assert learnt == {example.id for example in own}
    captions = {caption for picture in trainer.splits.train for caption in picture.example.captions}
    assert "a red dot" in captions
    assert not any(caption.startswith("by ") for caption in captions)


def test_a_line_of_an_unknown_picture_needs_a_path(few_shapes, tmp_path):
    file = _write(tmp_path / "told.jsonl", [{"id": "nobody", "caption": "a red dot"}])
    with pytest.raises(DataError, match=r"told\.jsonl:1: the data set has no picture 'nobody', and the line no `path`"):
        add_captions(_train_examples(few_shapes), [file], alone=False)


def test_the_words_are_those_of_the_data_sets_own_captions(few_shapes, tmp_path):
    plain, _ = _trainer(few_shapes, tmp_path / "plain")
    name = plain.splits.train[0].example.id
    file = _write(tmp_path / "told.jsonl", [{"id": name, "caption": "an unheard zebra"}])
    told, _ = _trainer(few_shapes, tmp_path / "told", captions=(file,))
    assert told.run.vocabulary == plain.run.vocabulary
    assert sum(len(p.captions) for p in told.splits.train) == 1 + sum(len(p.captions) for p in plain.splits.train)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("no json", "'no json'"),
        ('{"path": "a.png"}', "expected a JSON object"),
        ('{"caption": "a"}', "expected a JSON"),
    ],
)
def test_a_line_that_is_no_caption_is_told_with_its_place(tmp_path, line, found):
    file = tmp_path / "told.jsonl"
    file.write_text(f'{{"path": "a.png", "caption": "fine"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"told\.jsonl:2: found .*{found}") as caught:
        add_captions([], [file], alone=False)
    assert "\n" not in str(caught.value)


def test_captions_alone_need_files_of_them(few_shapes, tmp_path):
    with pytest.raises(RecipeError, match=r"training\.captions is added, but none are; name files of them with --capt"):
        _trainer(few_shapes, tmp_path / "run", "training.captions=added")
    assert not (tmp_path / "run").exists()


def test_a_caption_may_hold_signs_that_part_lines_elsewhere(tmp_path):
    file = tmp_path / "told.jsonl"
    file.write_text('{"path": "a.png", "caption": "a red\u2028dot"}\n', encoding="utf-8")
    assert add_captions([], [file], alone=False).examples[0].captions == ("a red\u2028dot",)


# Text


def test_lines_are_learnt_without_pictures_and_then_with_them(few_shapes, tmp_path):
    text = tmp_path / "lines.txt"
    lines = sorted({caption for example in _train_examples(few_shapes) for caption in example.captions})
    text.write_text("\n\n".join(lines * 3))
    settings = (*LEARNING, "training.choose_by=loss", "training.epochs=4")
    trainer, _ = _trainer(few_shapes, tmp_path / "text", *settings, text=text)
    assert len(trainer.splits.train) == 3 * len(lines)
    values, mask = trainer.store.read([0, 0])
    assert values.shape == (2, *trainer.store.shape)
    assert not values.any()
    assert mask.all()
    assert trainer.train()
    losses = [entry["train loss"] for entry in trainer.progress.history]
    assert losses[-1] < 0.7 * losses[0]

    scratch, _ = _trainer(few_shapes, tmp_path / "scratch", *LEARNING)
    later, _ = _trainer(few_shapes, tmp_path / "later", *LEARNING, start_from=tmp_path / "text")
    for one in (scratch, later):
        one._step(next(epoch_batches(one.splits.train, one.options, 0)))
    assert later.progress.loss_sum < 0.8 * scratch.progress.loss_sum  # it knows how captions go


def test_a_run_of_text_goes_on_with_its_text(few_shapes, tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("a small red circle\na large blue square\n")
    _trainer(few_shapes, tmp_path / "run", "training.epochs=1", text=text)[0].train()
    again, _ = _trainer(few_shapes, tmp_path / "run", resume=True)
    assert len(again.splits.train) == 2
    assert again.progress.epoch == 1


def test_text_that_cannot_be_learnt_is_told(few_shapes, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(DataError, match=r"empty\.txt: holds no line of text"):
        text_examples(empty)
    with pytest.raises(DataError, match=r"none\.txt: cannot be read"):
        text_examples(tmp_path / "none.txt")
    text = tmp_path / "lines.txt"
    text.write_text("a red circle")
    with pytest.raises(RecipeError, match="--text has no pictures from which an encoder could learn"):
        _trainer(few_shapes, tmp_path / "run", "encoder.train=true", text=text)
    with pytest.raises(RecipeError, match="--text has no pictures, which --teacher and --captions are about"):
        _trainer(few_shapes, tmp_path / "other", text=text, teachers=(tmp_path,))


def test_a_part_of_the_lines_can_be_learnt(few_shapes, tmp_path):
    text = tmp_path / "lines.txt"
    text.write_text("a small red circle\na large blue square\n" * 10)
    trainer, said = _trainer(few_shapes, tmp_path / "run", "training.limit_captions=5", text=text)
    assert len(trainer.splits.train) == 5
    assert f"5 of 20 lines of {text}" in said


# Teachers


@pytest.fixture(scope="module")
def learned(few_shapes, tmp_path_factory):
    """A finished run that knows its few pictures."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOWTELL_CACHE", str(tmp_path_factory.getbasetemp() / "lessons-cache"))
        trainer, _ = tiny_trainer(few_shapes, folder, *LEARNING)
        assert trainer.train()
    return folder


def test_a_learner_comes_closer_to_its_teacher(few_shapes, tmp_path, learned):
    settings = (*LEARNING, "training.distil=1.0", "training.epochs=8", "training.flip=true")
    trainer, _ = _trainer(few_shapes, tmp_path / "run", *settings, teachers=(learned,))
    assert trainer.run.vocabulary == open_run(learned).vocabulary
    (teacher,) = trainer.teachers
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    before = {name: tensor.clone() for name, tensor in teacher.model.state_dict().items()}
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))

    def distance():
        trainer.model.eval()
        inputs = torch.from_numpy(trainer.store.read(batch.rows)[0])
        tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
        with torch.no_grad():
            logits = trainer.model(inputs, tokens, lengths, None).logits
        likely = teacher.probabilities(batch, 1.0, torch.device("cpu"))
        assert likely.sum(1).tolist() == pytest.approx([1.0] * len(likely), abs=1e-4)
        return torch.nn.functional.kl_div(logits.log_softmax(1), likely, reduction="batchmean").item()

    far = distance()
    assert trainer.train()
    assert distance() < 0.5 * far
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.model.state_dict().items())


def test_two_teachers_are_their_mean_and_a_run_remembers_them(few_shapes, tmp_path, learned):
    other, _ = tiny_trainer(few_shapes, tmp_path / "other", *LEARNING, "training.epochs=1", "training.seed=5")
    assert other.train()
    both = (learned, tmp_path / "other")
    trainer, _ = _trainer(few_shapes, tmp_path / "run", "training.epochs=1", teachers=both)
    batch = next(epoch_batches(trainer.splits.train, trainer.options, 0))
    from showtell.training.teacher import taught

    each = [teacher.probabilities(batch, 1.0, torch.device("cpu")) for teacher in trainer.teachers]
    torch.testing.assert_close(taught(trainer.teachers, batch, 1.0, torch.device("cpu")), (each[0] + each[1]) / 2)
    assert trainer.train()
    again, _ = _trainer(few_shapes, tmp_path / "run", resume=True)
    assert len(again.teachers) == 2


def test_a_teacher_of_other_words_is_refused(few_shapes, tmp_path, learned):
    other, _ = _trainer(few_shapes, tmp_path / "few", "training.limit_captions=3", "training.epochs=1")
    assert other.train()
    with pytest.raises(CheckpointError, match=r"few: knows \d+ words, the learning run \d+, and not the same"):
        _trainer(few_shapes, tmp_path / "run", teachers=(learned, tmp_path / "few"))


# Word vectors


def _vectors(tmp_path, lines):
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_vectors_come_to_the_rows_of_their_words(tmp_path):
    vocabulary = Vocabulary.build(["red dot blue dot"])
    table = torch.nn.Embedding(len(vocabulary), 3)
    before = table.weight.detach().clone()
    path = _vectors(
        tmp_path, ["3 3", "red 1 0 -1", "<end> 9 9 9", "zebra 5 5 5", "two words 7 7 7", "", "blue\t0\t2 -2", " "]
    )
    found = read_word_vectors(path, 3, vocabulary)
    assert len(found) == 2
    begin_with(found, table)
    after = table.weight.detach()
    vectors = np.array([[1, 0, -1], [0, 2, -2]], float)
    scale = float(before.std()) / vectors.std(ddof=1)
    np.testing.assert_allclose(after[vocabulary.ids["red"]], vectors[0] * scale, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after[vocabulary.ids["blue"]], vectors[1] * scale, rtol=1e-4, atol=1e-6)
    untouched = [i for i in range(len(vocabulary)) if vocabulary.words[i] not in ("red", "blue")]
    assert torch.equal(after[untouched], before[untouched])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["red 1 2"], r"vectors\.txt:1: found 2 numbers, expected 3 as decoder\.embedding says"),
        (["dot 1 2 3", "red 1 2 x"], r"vectors\.txt:2: .*expected numbers behind 'red'"),
        (["red 1 2 nan"], r"vectors\.txt:1: a number that is not finite"),
        (["zebra 1 2 3"], "holds no word of the vocabulary"),
    ],
)
def test_a_file_that_does_not_fit_is_told(tmp_path, lines, message):
    vocabulary = Vocabulary.build(["red dot"])
    with pytest.raises(DataError, match=message):
        read_word_vectors(_vectors(tmp_path, lines), 3, vocabulary)


def test_a_run_begins_with_them_and_says_how_many(few_shapes, tmp_path):
    size = read_recipe(TINY).decoder.embedding
    path = _vectors(tmp_path, [f"red {' '.join(['1'] * size)}"])
    trainer, said = _trainer(few_shapes, tmp_path / "run", "training.epochs=1", word_vectors=path)
    row = trainer.model.decoder.embed.weight[trainer.run.vocabulary.ids["red"]]
    assert (row == row[0]).all()
    assert any(line.startswith("1 of ") and "words begin with vectors" in line for line in said)
    assert trainer.train()
    with pytest.raises(RecipeError, match="--word-vectors are what a new decoder begins with"):
        _trainer(few_shapes, tmp_path / "next", word_vectors=path, start_from=tmp_path / "run")


# Which epochs stay


def test_as_many_of_the_best_epochs_stay_as_the_recipe_says(few_shapes, tmp_path, monkeypatch):
    from showtell.training.validation import Validation

    scores = iter([3.0, 5.0, 1.0, 4.0])
    trainer, _ = tiny_trainer(
        few_shapes, tmp_path / "run", "training.epochs=4", "training.keep=2", "training.choose_by=BLEU-4"
    )
    monkeypatch.setattr(
        "showtell.training.loop.validate",
        lambda *_: Validation({"loss": 1.0, "CIDEr": 0.0, "BLEU-4": next(scores)}, {}),
    )
    assert trainer.train()
    assert [name for name, _ in trainer.progress.kept] == ["00002-00000", "00004-00000"]
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"00002-00000", "00004-00000"}
    assert trainer.progress.best == "00002-00000"
    assert latest_checkpoint(tmp_path / "run").name == "00004-00000"
