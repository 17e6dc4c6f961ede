import subprocess
import sys

import pytest

from edgetran.training import TaskError, build_tokenizer, load_task, load_tokenizer
from edgetran.training.task import Example, Task
from edgetran.training.tokenizer import SPECIAL_TOKENS, plain_copy, tokenizer_hash

TRAIN_AND_PRINT_HASH = """
import sys
from edgetran.training import TaskReference, build_tokenizer, load_task
from edgetran.training.tokenizer import tokenizer_hash
task = load_task(TaskReference(files={"train": sys.argv[1]}))
print(tokenizer_hash(build_tokenizer(task, vocab_size=300, cache_dir=sys.argv[2])))
"""


@pytest.fixture(scope="module")
def task(review_file):
    return load_task(files={"train": str(review_file)})


def test_the_same_data_gives_the_same_tokenizer_in_every_process(task, review_file, tmp_path):
    here = tokenizer_hash(build_tokenizer(task, vocab_size=300, cache_dir=tmp_path / "here"))
    for place in ("one", "two"):
        command = [sys.executable, "-c", TRAIN_AND_PRINT_HASH, review_file, tmp_path / place]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert printed.split()[-1] == here


def test_special_tokens_have_the_first_ids_and_padding_is_zero(task, cache):
    tokenizer = build_tokenizer(task, vocab_size=300, cache_dir=cache)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert tokenizer.pad_token_id == 0
    assert len(tokenizer) <= 300


def test_texts_and_pairs_are_framed_as_bert_frames_them(task, cache):
    tokenizer = build_tokenizer(task, vocab_size=300, cache_dir=cache)
    encoded = tokenizer("The FILM", "was good")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert tokens == ["[CLS]", "the", "film", "[SEP]", "was", "good", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == "the film was good"


def test_letters_inside_texts_are_never_taken_for_special_tokens(task, cache):
    tokenizer = build_tokenizer(task, vocab_size=300, cache_dir=cache)
    assert "##a" in tokenizer.get_vocab()
    assert tokenizer.tokenize("##a good")[0] != "##a"


def test_only_the_training_part_and_the_size_decide(task, cache):
    first = build_tokenizer(task, vocab_size=300, cache_dir=cache)
    others = Task(**vars(task) | {"test": (Example("zebra", None, 0),)})
    assert tokenizer_hash(first) == tokenizer_hash(
        build_tokenizer(others, vocab_size=300, cache_dir=cache)
    )
    smaller = build_tokenizer(task, vocab_size=100, cache_dir=cache)
    assert len(smaller) == 100
    assert tokenizer_hash(smaller) != tokenizer_hash(first)


def test_a_cached_tokenizer_is_read_and_not_trained_again(task, tmp_path):
    build_tokenizer(task, vocab_size=300, cache_dir=tmp_path)
    (path,) = (tmp_path / "tokenizers").iterdir()
    written = path.stat().st_mtime_ns
    build_tokenizer(task, vocab_size=300, cache_dir=tmp_path)
    assert path.stat().st_mtime_ns == written


def test_a_saved_tokenizer_loads_as_it_was_without_cutting(task, cache, tmp_path):
    tokenizer = build_tokenizer(task, vocab_size=300, cache_dir=cache)
    long = "good film " * 50
    tokenizer(long, truncation=True, max_length=8)
    plain_copy(tokenizer, 16).save_pretrained(tmp_path)
    loaded = build_tokenizer(task, folder=tmp_path)
    assert tokenizer_hash(loaded) == tokenizer_hash(tokenizer)
    assert loaded.model_max_length == 16
    assert len(loaded(long)["input_ids"]) == 102


def test_a_script_of_many_letters_leaves_half_the_vocabulary_for_pieces(cache):
    texts = [chr(0x0400 + i % 200) * 2 + chr(0x1200 + i) + " ok then" for i in range(300)]
    train = tuple(Example(text, None, i % 2) for i, text in enumerate(texts))
    task = Task("t", train, train, train, ("a", "b"), ("accuracy",))
    tokenizer = build_tokenizer(task, vocab_size=128, cache_dir=cache)
    single = [t for t in tokenizer.get_vocab() if len(t.removeprefix("##")) == 1]
    assert len(tokenizer) <= 128
    assert len(single) <= 64


@pytest.mark.parametrize("content", [None, "{", '{"version": "1.0"}'])
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TaskError, match="tokenizer: "):
        load_tokenizer(tmp_path)


def test_a_vocabulary_too_small_for_letters_is_refused(task, cache):
    with pytest.raises(TaskError, match="vocabSize: 10 is too small; at least 64"):
        build_tokenizer(task, vocab_size=10, cache_dir=cache)
