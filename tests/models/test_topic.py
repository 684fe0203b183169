import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from showtell.architectures import TopicOptions  # noqa: E402
from showtell.errors import DataError  # noqa: E402
from showtell.models.topic import TopicDecoder, find_topics, infer_topics  # noqa: E402

# Words 4..7 are told of one kind of picture, 8..11 of the other, 12 of all.
DOCUMENTS = [[[4 + (i + j) % 4, 4 + (i + j + 1) % 4, 12] for j in range(5)] for i in range(20)]
DOCUMENTS += [[[8 + (i + j) % 4, 8 + (i + j + 1) % 4, 12] for j in range(5)] for i in range(20)]
WORDS = 13
SMALL = {"projection": 8, "embedding": 6, "hidden": 7, "attention": 5, "topics": 2, "dropout": 0.0}


def decoder():
    torch.manual_seed(0)
    made = TopicDecoder(TopicOptions(**SMALL), 4, 3, WORDS)
    made.prepare(DOCUMENTS, 1)
    return made


def test_topics_part_the_words_that_are_told_together():
    topics = find_topics(DOCUMENTS, 2, WORDS, 1)
    first, second = topics[:, 4:8].sum(1), topics[:, 8:12].sum(1)
    assert sorted((first > 0.9).tolist()) == [False, True]
    assert ((first > 0.9) != (second > 0.9)).all()
    assert (topics[:, 12] == 0).all()  # told of every picture


def test_a_pictures_topics_are_those_of_its_words():
    topic_words = torch.tensor([[0.0] * 4 + [0.25] * 4 + [0.0] * 5, [0.0] * 8 + [0.25] * 4 + [0.0]])
    counts = torch.zeros(3, WORDS)
    counts[0, 4:6], counts[1, 9], counts[2, 4:12] = 5, 9, 3
    shares = infer_topics(counts, topic_words)
    assert shares.sum(1).tolist() == pytest.approx([1, 1, 1])
    assert shares[0, 0] > 0.95
    assert shares[1, 1] > 0.95
    assert shares[2].tolist() == pytest.approx([0.5, 0.5])


def test_predicting_the_topics_is_learnt_beside_the_words():
    made = decoder()
    tokens = torch.tensor([[[1, 4, 5, 6]], [[1, 8, 9, 10]]])
    told = made(torch.randn(2, 4, 3), tokens, torch.tensor([[4], [4]]))
    assert told.extra.item() > 0
    (told.logits.sum() + told.extra).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_teacher_forcing_tells_what_step_by_step_does():
    made = decoder().eval()
    regions, tokens = torch.randn(2, 4, 3), torch.tensor([[[1, 4, 5]], [[1, 8, 9]]])
    with torch.no_grad():
        logits = made(regions, tokens, torch.tensor([[3], [3]])).logits.log_softmax(1).view(2, 3, WORDS)
        memory, state = made.start(regions)
        for t in range(3):
            log_probs, state, _ = made.step(tokens[:, :, t], state, memory)
            torch.testing.assert_close(log_probs[:, 0], logits[:, t])


def test_topics_guide_where_it_looks():
    made = decoder().eval()
    regions = torch.randn(1, 4, 3)
    with torch.no_grad():
        keys = made.start(regions)[0]["keys"]
        made.topic_to_key.weight.zero_()
        assert not torch.allclose(made.start(regions)[0]["keys"], keys)


def test_a_checkpoint_holds_the_topics():
    made, other = decoder(), TopicDecoder(TopicOptions(**SMALL), 4, 3, WORDS)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.topic_words, made.topic_words)


def test_too_few_telling_words_are_one_clear_line():
    with pytest.raises(DataError, match=r"8 words stand in the captions .* expected at least decoder\.topics, 9"):
        find_topics(DOCUMENTS, 9, WORDS, 1)
