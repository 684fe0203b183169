# ruff: noqa: E501 - tables of odd strings
"""Lines for comparing tokenizers: a grammar of kinds of text that captions can hold, and captions mutated.

Everything is decided by the seed. No line holds a line end, and none is blank.
"""

import random
import string

WORDS = [
    "a",
    "the",
    "man",
    "woman",
    "dog",
    "dogs",
    "Dog",
    "CAT",
    "riding",
    "on",
    "in",
    "Near",
    "two",
    "people",
    "café",
    "naïve",
    "Zoë",
    "Müller",
    "façade",
    "résumé",
    "jalapeño",
    "über",
    "smörgåsbord",
    "Ångström",
    "señor",
    "Straße",
    "coöperate",
    "the",
    "A",
    "The",
    "It",
    "This",
    "He",
    "They",
    "When",
]
CAPTIONS = (
    "A black dog and a spotted dog are fighting .", "Two men in St. Louis hold a sign : `` no war '' .",
    'A girl in a pink "hello kitty" shirt doesn\'t look at Mr. Jones, who is 6\'2" tall.',
    "The boy's dog, a 3-year-old, can't reach the 1/2-inch rope; it's tied (see no. 5).",
    "A man & woman at the U.S. Open in the 1990s wait for $5 hot-dogs / drinks ...",
    "Children playing rock'n'roll at 5 p.m. on Aug. 12, 2010 - some wear T-shirts",
    "A couple posing b. A photo of plan B. Many are there", "Firefighters #9 @ the station 24/7 e-mail a@b.com",
)  # fmt: skip
TITLES = [
    "Mr.",
    "Mrs.",
    "Ms.",
    "Dr.",
    "Prof.",
    "Sgt.",
    "Lt.",
    "Capt.",
    "Rev.",
    "Sen.",
    "St.",
    "Ste.",
    "Gov.",
    "Gen.",
    "Jr.",
    "Sr.",
    "Hon.",
    "Messrs.",
    "Mlle.",
    "Pres.",
]
ENDINGS = [
    "Inc.",
    "Corp.",
    "Co.",
    "Ltd.",
    "etc.",
    "Bros.",
    "Assn.",
    "plc.",
    "Jan.",
    "feb.",
    "Sept.",
    "Mon.",
    "Thurs.",
    "Calif.",
    "Ariz.",
    "Va.",
    "Ph.D.",
    "Esq.",
    "sq.",
]
STATES = [
    "Mass.",
    "mass.",
    "Wash.",
    "wash.",
    "Tex.",
    "tex.",
    "Ill.",
    "ill.",
    "La.",
    "Pa.",
    "Ore.",
    "Miss.",
    "miss.",
    "Del.",
    "Ark.",
    "ark.",
]
NUMBERED = ["no.", "No.", "nos.", "fig.", "Fig.", "Figs.", "pp.", "art.", "op.", "prop.", "ca."]
ACRONYMS = [
    "U.S.",
    "U.S.A.",
    "u.s.a",
    "e.g.",
    "i.e.",
    "a.m.",
    "p.m.",
    "P.M.",
    "D.C.",
    "N.Y.P.D.",
    "B.A.",
    "A.B.C",
    "R.E.M",
    "J.R.R.",
    "b.",
]
CONTRACTED = [
    "don't",
    "can't",
    "won't",
    "isn't",
    "ain't",
    "it's",
    "dog's",
    "dogs'",
    "they're",
    "we've",
    "I'll",
    "I'm",
    "he'd",
    "who'd've",
    "y'all",
    "y'know",
    "ma'am",
    "o'clock",
    "O'Brien",
    "d'Artagnan",
    "l'amour",
    "'tis",
    "'twas",
    "'em",
    "'til",
    "'cause",
    "rock'n'roll",
    "'n'",
    "c'mon",
    "ne'er",
    "Xi'an",
    "Qur'an",
    "N'Djamena",
    "jusqu'au",
    "qu'il",
    "nor'easter",
    "DON'T",
    "Isn'T",
    "bo's'n",
    "fo'c'sle",
    "KO'd",
    "'s",
    "'nt",
    "n't",
]
JOINED = [
    "cannot",
    "Cannot",
    "gonna",
    "gotta",
    "wanna",
    "gimme",
    "lemme",
    "Gonna",
    "dunno",
    "outta",
    "whatcha",
    "wannabe",
    "cannots",
    "kinda",
]
HYPHENED = [
    "well-known",
    "state-of-the-art",
    "T-shirt",
    "x-ray",
    "co-op",
    "mid-1990s",
    "e-mail",
    "-ish",
    "pre-",
    "U.S.-based",
    "anti-U.S.",
    "a--b",
    "3-D",
    "re-",
]
SLASHED = ["and/or", "he/she/it/they", "w/o", "w/", "24/7", "TCP/IP", "a/b-c", "a//b", "1/a", "km/h", "\\/", "1\\/2"]
QUOTED = (
    '"hello"',
    "'single'",
    "``old''",
    "“curly”",
    "‘inner’",
    "«deux»",
    "‹un›",
    "„unten“",
    '6"',
    "5'",
    "''",
    "'\"",
    "\"'",
    "`",
)
BRACKETED = (
    "(in)",
    "[of]",
    "{to}",
    "(",
    ")",
    "[1]",
    "dog(s)",
    "((a))",
    "<b>",
    "</b>",
    '<a href="x">',
    "<br/>",
    "<!-- x -->",
    "< b",
)
SMILEYS = (
    ":)",
    ":-(",
    ";-)",
    ":D",
    ":P",
    "=)",
    ":'(",
    ">:-)",
    "^_^",
    "(^_^)",
    "-_-",
    "<3",
    "xD",
    ":/",
    "8-)",
    "(:",
    ":-))",
)
MONEY = ("$5", "$1,000.50", "£3", "€10", "¥500", "₹20", "5¢", "US$5", "HK$", "A$10", "$", "£", "₩", "-$5", "$5m", "5€")
ENTITIES = [
    "&amp;",
    "&lt;",
    "&gt;",
    "&quot;",
    "&apos;",
    "&nbsp;",
    "AT&amp;T",
    "a&amp;b",
    "&eacute;",
    "caf&eacute;",
    "&#39;",
    "&copy;",
    "&md;",
    "&",
    "&&",
    "&amp",
]
WEB = [
    "http://www.example.com/a?b=c&d=e#f",
    "https://example.org",
    "www.example.co.uk",
    "www.a-b.com/x/y.html",
    "example.com",
    "example.com/path.",
    "me@example.com",
    "<me@example.com>",
    "a.b@c.d.e",
    "@user",
    "@user_1",
    "#tag",
    "#tag1",
    "ftp://x.com",
    "mailto:me@x.org",
    "http://localhost:80/x,",
    "a@b",
    "%.com",
    "http://a",
]
FILES = [
    "photo.jpg",
    "IMG_001.JPG",
    "index.html",
    "file.txt",
    "a.c",
    "main.cpp",
    "x.tar.gz",
    "1.mp3",
    "2.docx",
    "archive.zip",
    "Node.js",
    ".net",
    ".NET",
]
PUNCTUATION = [".", ",", ";", ":", "!", "?", "...", "....", ".....", "......", "-", "--", "---", "----", "-----", "_", "__", "*", "**", "#", "##", "+", "=", "~", "^", "|", "\\", "/", "//", "@", "@@", "%", "‰", "?!", "!!", "?!?", "!...", "..", ",,", ";;", "::", "<<", ">>", "\\*", "•", "·", "¶", "§", "†", "‡", "※"]  # fmt: skip
UNICODE_MARKS = [
    *list("–—―…‚„‛‟′″‐‑−×÷±°©®™½¼¾⅓⅔⅛²³¹₂⁄¡¿´¨¸‼⁇。，！？：「」《》"),
    "\x80",
    "\x91",
    "\x92",
    "\x93",
    "\x94",
    "\x96",
    "\x97",
]
SPACES = [" ", "  ", "\t", "\u00a0", "\u2009", "\u3000", "\u200b", "\u00ad", "\ufeff", "\u200d"]
EMOJI = ["😀", "👍🏽", "❤️", "❤", "☺", "🇺🇸", "👩‍👩‍👧", "✓", "⚽", "♫", "🐕", "☎️"]
SCRIPTS = [
    "中文",
    "日本語",
    "ひらがな",
    "カタカナ",
    "한국어",
    "שלום",
    "مرحبا",
    "привет",
    "Ελληνικά",
    "ΟΔΟΣ",
    "हिन्दी",
    "ไทย",
    "١٢٣",
    "１２",
    "Ａｂ",
]
ACCENTS = ["e\u0301", "a\u0308o", "\u0301", "n\u0303o", "İstanbul", "ıi", "ǅ", "ﬁ", "ª", "µ", "ß", "Σ"]
LEXICON = (
    *WORDS, *TITLES, *ENDINGS, *STATES, *NUMBERED, *ACRONYMS, *CONTRACTED, *JOINED, *HYPHENED, *SLASHED, *QUOTED,
    *BRACKETED, *SMILEYS, *MONEY, *ENTITIES, *WEB, *FILES, *PUNCTUATION, *UNICODE_MARKS, *EMOJI, *SCRIPTS, *ACCENTS,
)  # fmt: skip


def _digits(source, longest=6):
    return "".join(source.choice(string.digits) for _ in range(source.randint(1, longest)))


def _number(source):
    d = [_digits(source, 4) for _ in range(3)]
    return source.choice([d[0], f"{d[0]}.{d[1]}", f"{d[0]},{d[1]}", f"-{d[0]}", f"+{d[0]}", f".{d[0]}", f"{d[0]}.", f"{d[0]}%",
                          f"{d[0]},{d[1]}.{d[2]}", f"{d[0]}th", f"{d[0]}s", f"'{d[0]}s", f"{d[0]}'s", f"#{d[0]}", f"{d[0]}x{d[1]}",
                          f"{d[0]}mm", f"{d[0]}°C", f"{d[0]}:{d[1]}", f"{d[0]}am", f"{d[0]}-{d[1]}", f"{d[0]}'{d[1]}\""])  # fmt: skip


def _fraction(source):
    d = [_digits(source, 3) for _ in range(3)]
    return source.choice([f"{d[0]}/{d[1]}", f"{d[0]} {d[1]}/{d[2]}", f"{d[0]}-{d[1]}/{d[2]}", f"{d[0]}⁄{d[1]}", f"{d[0]}½", f"{d[0]}/{d[1]}-inch",
                          f"{d[0]}\u00a0{d[1]}/{d[2]}", f"{d[0]} {d[1]}\\/{d[2]}"])  # fmt: skip


def _date(source):
    d = [_digits(source, 2) for _ in range(3)]
    year = source.choice(["1999", "2012", "'99", "07"])
    return source.choice([f"{d[0]}/{d[1]}/{year}", f"{d[0]}-{d[1]}-{year}", f"{d[0]}.{d[1]}.{year}", f"Aug. {d[0]}, {year}", f"{year}-{d[0]}-{d[1]}",
                          f"{d[0]}:{d[1]}:{d[2]}", f"the '{d[0]} race", "the '90s", f"{d[0]} p.m."])  # fmt: skip


def _phone(source):
    d = [_digits(source, 5) for _ in range(4)]
    return source.choice([f"({d[0]}) {d[1]}-{d[2]}", f"{d[0]}-{d[1]}", f"+{d[0]} {d[1]} {d[2]} {d[3]}", f"{d[0]} {d[1]} {d[2]}", f"({d[0]}){d[1]} {d[2]}",
                          f"+{d[0]}-{d[1]}-{d[2]}", f"{d[0]}.{d[1]}.{d[2]}", f"{d[0]} {d[1]}/{d[2]}"])  # fmt: skip


def _initial(source):
    letter = source.choice(string.ascii_letters)
    return f"{letter}. {source.choice([*WORDS, 'Mr.', '<b>', 'Smith', 'Many', 'Inc.', '5', 'So', 'here'])}"


def _sentence_end(source):
    return f"{source.choice(WORDS)}{source.choice('.!?')}{source.choice(WORDS)}"


def _before_number(source):
    return f"{source.choice(NUMBERED)}{source.choice(['', ' ', '  '])}{source.choice([_number(source), source.choice(WORDS)])}"


def _currency(source):
    return f"{source.choice(['', '-', 'US', 'A'])}{source.choice('$£€¥₹¢')}{_number(source)}"


def _amp(source):
    letters = source.choice([string.ascii_uppercase, string.ascii_letters])
    part = lambda: "".join(source.choice(letters) for _ in range(source.randint(1, 3)))  # noqa: E731
    return f"{part()}{source.choice(['&', '+', '&amp;'])}{part()}"


def _address(source):
    part = lambda: "".join(source.choices(string.ascii_letters + string.digits + "-_", k=source.randint(1, 5)))  # noqa: E731
    host = ".".join(part() for _ in range(source.randint(1, 3)))
    end = source.choice(["com", "org", "net", "edu", "de", "io", "COM", "museum"])
    path = source.choice(
        ["", "/", "/" + part(), f"/{part()}/{part()}.html", f"?{part()}={part()}", f"/{part()}?{part()}&{part()}"]
    )
    return (
        source.choice(["http://", "https://", "www.", "", "", "Http://"])
        + f"{host}.{end}{path}"
        + source.choice(["", "", ".", ",", ")", "!"])
    )


def _mail(source):
    part = lambda: "".join(source.choices(string.ascii_letters + string.digits + ".-_+'", k=source.randint(1, 5)))  # noqa: E731
    return f"{source.choice(['', '<', ''])}{part()}@{part()}{source.choice(['', '.com', '>', '.'])}"


def _tag(source):
    name, attribute = (
        source.choice(["b", "br", "a", "IMG", "p1", "x-y"]),
        source.choice(["", ' src="x y"', " id='1'", " c", " c=d", "  e "]),
    )
    return source.choice(["<", "</", "< "]) + name + attribute + source.choice([">", "/>", " >", ""])


def _contraction(source):
    return f"{source.choice(WORDS)}{source.choice(QUOTES)}{source.choice(['s', 'S', 'll', 're', 've', 'd', 'm', 't', 'em', 'x', 'sa', 'est', ''])}"


def _apostrophes(source):
    return "".join(
        source.choices(
            ["'", "’", "a", "e", "d", "l", "o", "n", "t", "s", "ll", "O", "y", "90", "1", "em", "is", "`"],
            k=source.randint(2, 6),
        )
    )


def _letters(source):
    return "".join(source.choices(string.ascii_letters + string.digits + "'-._/", k=source.randint(1, 8)))


def _ascii(source):
    return "".join(source.choices(string.printable[:95].replace("\n", ""), k=source.randint(1, 8)))


def _units(source):
    return (
        _number(source)
        + source.choice(["", " "])
        + source.choice(["ft.", "in.", "cm", "kg", "lbs.", "mph", "°", "%", "p.m.", "x", "km/h", "sq. ft."])
    )


def _run(source):
    return source.choice(string.punctuation) * source.randint(1, 9)


def _accented(source):
    return "".join(source.choices([*ACCENTS, *"aeiou", "\u0301", "-", ".", "'"], k=source.randint(1, 5)))


def _stuck(source):
    return "".join(source.choices(LEXICON, k=source.randint(2, 3)))


QUOTES = ("'", "’", "`", "‘", "´", "\x92", "&apos;", "′")


def _one_of(options):
    return lambda source: source.choice(options)


GRAMMAR = {
    **{name: _one_of(options) for name, options in (
        ("word", WORDS), ("title", TITLES), ("ending", ENDINGS), ("state", STATES), ("numbered", NUMBERED),
        ("acronym", ACRONYMS), ("contracted", CONTRACTED), ("assimilated", JOINED), ("hyphened", HYPHENED),
        ("slashed", SLASHED), ("quoted", QUOTED), ("bracketed", BRACKETED), ("smiley", SMILEYS), ("money", MONEY),
        ("entity", ENTITIES), ("web", WEB), ("file", FILES), ("punctuation", PUNCTUATION),
        ("unicode mark", UNICODE_MARKS), ("emoji", EMOJI), ("script", SCRIPTS), ("accent", ACCENTS),
    )},
    "number": _number, "fraction": _fraction, "date": _date, "phone": _phone, "initial": _initial,
    "sentence end": _sentence_end, "before number": _before_number, "currency": _currency, "ampersand": _amp,
    "address": _address, "mail": _mail, "tag": _tag, "contraction": _contraction, "apostrophes": _apostrophes,
    "letters": _letters, "ascii": _ascii, "units": _units, "run": _run, "accented": _accented, "stuck": _stuck,
}  # fmt: skip


def grammar_line(source: random.Random) -> str:
    """One to eight things of the grammar, mostly parted by spaces."""
    kinds = source.choices(list(GRAMMAR), k=source.randint(1, 8))
    line = "".join(
        GRAMMAR[kind](source) + (" " if source.random() < 0.9 else source.choice(["", *SPACES])) for kind in kinds
    )
    return line[:-1] if source.random() < 0.8 else line


def mutated(caption: str, source: random.Random) -> str:
    """A caption with one to four places deleted, doubled, swapped or filled with something of the lexicon."""
    letters = list(caption)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(letters) + 1)
        what = source.randrange(6)
        if what == 0:
            letters[place : place + 1] = []
        elif what == 1:
            letters[place:place] = letters[place : place + source.randint(1, 3)]
        elif what == 2:
            letters[place:place] = source.choice(LEXICON)
        elif what == 3:
            letters[place : place + 1] = source.choice(string.punctuation)
        elif what == 4:
            letters[place : place + 2] = reversed(letters[place : place + 2])
        else:
            letters[place : place + 1] = [letter.swapcase() for letter in letters[place : place + 1]]
    return "".join(letters)


def make_lines(count: int, seed: int, captions: tuple[str, ...] = CAPTIONS) -> list[str]:
    """Half of the lines from the grammar, half mutated captions."""
    source = random.Random(seed)
    lines: list[str] = []
    while len(lines) < count:
        line = grammar_line(source) if len(lines) % 2 else mutated(source.choice(captions), source)
        if line.strip():
            lines.append(line)
    return lines
