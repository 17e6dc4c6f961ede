import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.training import TaskError, build_tokenizer, encode_task, load_task
from edgetran.training.encoding import epoch_batches
from edgetran.training.task import Example, Task


@given(
    st.lists(st.integers(3, 64), min_size=1, max_size=300),
    st.integers(1, 40),
    st.integers(0, 2**31),
    st.integers(0, 5),
)
def test_every_example_is_in_one_batch_and_the_seed_decides(lengths, batch_size, seed, epoch):
    lengths = np.array(lengths)
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
    again = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert all(len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


def test_epochs_differ_and_batches_hold_similar_lengths():
    lengths = np.random.default_rng(0).integers(5, 60, size=3200)
    first, second = (epoch_batches(lengths, 32, seed=1, epoch=e) for e in (0, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    padded = sum(len(b) * lengths[b].max() for b in first)
    assert padded < 1.1 * lengths.sum()
    sizes = [lengths[b].mean() for b in first]
    assert np.corrcoef(sizes, np.arange(len(sizes)))[0, 1] < 0.5


@pytest.fixture(scope="module")
def data(review_file, cache):
    task = load_task(files={"train": str(review_file)})
    return encode_task(task, build_tokenizer(task, vocab_size=300, cache_dir=cache), 12)


def test_a_batch_is_padded_to_its_own_longest_text(data):
    lengths = data.split("train").lengths
    positions = np.array([int(lengths.argmin()), int(lengths.argmax())])
    batch = data.batch("train", positions)
    assert batch.input_ids.shape == (2, lengths.max())
    assert batch.attention_mask.sum(1).tolist() == lengths[positions].tolist()
    assert batch.input_ids[0, lengths.min() :].tolist() == [0] * (lengths.max() - lengths.min())
    text = data.tokenizer.decode(batch.input_ids[1], skip_special_tokens=True)
    assert text == data.task.train[positions[1]].text


def test_evaluation_sees_every_example_once(data):
    seen = np.concatenate([b.positions for b in data.ordered_batches("test", 16)])
    assert sorted(seen) == list(range(len(data.task.test)))


def test_long_texts_are_cut_and_impossible_limits_refused(data):
    cut = encode_task(data.task, data.tokenizer, 5)
    assert cut.split("train").lengths.max() == 5
    with pytest.raises(TaskError, match="maxLength: 2 leaves no room for text; at least 3"):
        encode_task(data.task, data.tokenizer, 2)


def test_hidden_labels_are_known_to_be_hidden(data):
    task = Task(**vars(data.task) | {"extra": {"submission": (Example("good film"),)}})
    encoded = encode_task(task, data.tokenizer, 12)
    assert not encoded.split("submission").is_labelled
    assert encoded.split("test").is_labelled
    with pytest.raises(TaskError, match="no split 'dev'; it has train, validation, test"):
        encoded.split("dev")
