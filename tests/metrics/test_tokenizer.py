"""The tokenizer on cases whose words are known from the Java program's output, and on what Java does not take."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from showtell.metrics.tokenizer import PUNCTUATION, tokenize, tokenize_all

# fmt: off
KNOWN = {
    "A dog's toy can't fly; they're gonna win.": "a dog 's toy ca n't fly they 're gon na win",
    "'Tis time, 'twas late, gimme 'em!": "'t is time 't was late gim me 'em",
    '"Hello," she said. ``Hi\'\' “curly” ‘x’': "hello she said hi curly x",
    "(brackets) [square] {curly} <angle>": "-lrb- brackets -rrb- -lsb- square -rsb- -lcb- curly -rcb- <angle>",
    "black-and-white tee-shirt - -- --- ... …": "black-and-white tee-shirt",
    "-----": "-----",
    "$5 £5 €5 5¢ US$5": "$ 5 # 5 $ 5 5 cents us$ 5",
    "1/2 ½ 1,000.50 .5 -5 +5 5%": "1/2 1/2 1,000.50 .5 -5 +5 5 %",
    "3 1/2 cups": "3\u00a01/2 cups",
    "call (650) 723-0293": "call -lrb-650-rrb-\u00a0723-0293",
    "http://www.example.com/a?b=c, foo@bar.com @user #tag": "http://www.example.com/a?b=c foo@bar.com @user #tag",
    "Mr. Smith, Ph.D., of the U.S.A. etc.": "mr. smith ph.d. of the u.s.a. etc.",
    "no. 5 but no. of dogs": "no. 5 but no of dogs",
    "plan B. A man": "plan b a man",
    "plan B. Jones": "plan b. jones",
    "AT&T Q&A R&D a&b &amp; &lt;": "at&t q&a r&d a & b & <",
    "and/or he/she/it w/o w/": "and/or he/she/it w/o w /",
    "the 1990s '90s 90's": "the 1990s '90s 90 's",
    "O'Brien o'clock rock'n'roll y'all ma'am": "o'brien o'clock rock 'n' roll y' all ma'am",
    "end.Next hello!World what?now": "end.next hello!world what?now",
    "photo.jpg 1.jpg, img_1.jpg": "photo.jpg 1.jpg img_1 jpg",
    ":) :-( ;-) ^_^ (^_^) <3": ":-rrb- :--lrb- ;--rrb- ^_^ -lrb-^_^-rrb- < 3",
    "emoji 😀 ok ☺ ❤️": "emoji ok ☺ ❤",
    "don’t dog’s café Straße": "do n't dog 's café straße",
    "ΟΔΟΣ ΣΑΣ": "οδος σας",
    "co\u00adop": "coop",
    "NULL": "null",
    "": "",
    " . ": "",
}
# fmt: on


@pytest.mark.parametrize("caption", KNOWN)
def test_known_captions_have_known_words(caption):
    assert tokenize(caption) == KNOWN[caption]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_line_ends_part_words_and_never_captions(end):
    assert tokenize(f"a dog{end}runs, {end}and{end}") == "a dog runs and"
    assert tokenize(f"fig.{end}5") == ("fig. 5" if len(end) == 1 else "fig 5")  # over one space only


def test_a_caption_never_looks_ahead_into_the_next():
    assert tokenize_all(["plan B.", "A man", "no.", "5 dogs", "3", "1/2"]) == [
        "plan b.",
        "a man",
        "no",
        "5 dogs",
        "3",
        "1/2",
    ]


def test_a_megabyte_is_tokenized_in_bounded_time():
    for piece in ("a dog runs ", "it's 1/2 ", "dog", "a.", "1,", "(", "é ", "a@", "<b> ", "'", "a,", "-"):
        assert tokenize(piece * (1_000_000 // len(piece))) is not None


def test_memory_of_seen_words_is_bounded():
    from showtell.metrics import tokenizer

    for number in range(tokenizer._MOST_CHUNKS + 10):
        tokenize(f"word{'x' * (number % 7)}{number:b}".translate(str.maketrans("01", "ab")))
    assert len(tokenizer._CHUNKS) <= tokenizer._MOST_CHUNKS + 1


@given(st.text())
def test_words_hold_no_punctuation_no_line_end_and_no_upper_case_ascii(caption):
    words = tokenize(caption)
    assert not set(words.split(" ")) & PUNCTUATION
    assert not set(words) & set("\n\r\v\f\x85\u2028\u2029ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert "  " not in words


@given(st.lists(st.text(st.sampled_from("ab1'.- no(5)/<>B\u00a0é"), max_size=12), max_size=6))
def test_the_fast_path_says_what_the_rules_say_of_the_whole(parts):
    from showtell.metrics import tokenizer

    caption = " ".join(parts)
    assert tokenize(caption) == " ".join(tokenizer._words(caption))


def test_the_tokenizer_needs_the_standard_library_alone():
    program = "import sys, showtell.metrics.tokenizer as t; t.tokenize('a 1/2 é'); print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"
