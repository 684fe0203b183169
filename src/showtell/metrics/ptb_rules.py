"""The rules of the PTB tokenizer, learnt from black-box runs of the Java program (docs/decisions/0003).

A lexer in the usual sense: at each place every rule is tried, the longest match wins and of equals the first in the
list. What a rule must see after its token counts for the length, but is not taken. Regular expressions only: each rule
says what its first character may be, so that few are tried at a place.

Shorthands of the patterns: L letter or mark of a word, T letter, D digit, N letter or digit, Q apostrophe in any form.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from showtell.metrics.ptb_characters import DIGITS, LETTERS, MARKS

_SPACE = r" \t\u00a0\u2000-\u200a\u3000"
SPACES = re.compile(f"[{_SPACE}]+")

# Abbreviations that keep their period. Those of the first line always, those of the second unless the next two
# characters make a longer token, those of the third if they begin with a capital, those of the last before a number.
_TITLES = (
    "adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft "
    "gen gov govs hon insp invt jos lieut lt maj mfg messrs mlle mme mr mrs ms msgr mt mtg natl pfc ph pres prof "
    "profs pvt rep reps rev sen sens sfc sgt spc st ste supt supts treas vs wm"
)
_ENDS = (
    "al ala apr ariz assn aug bancorp bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext "
    "feb fla fri ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla "
    "penn plc ppte ppty pptes pptys pte ptes pty ptys rd rt sep sept seq sq sr sys tel tenn thu thurs tue tues "
    "univ va vt wed wis wisc wyo ph\\.d"
)
_STATES = "ark az del ill la mass miss ore pa tex wash"
BEFORE_NUMBERS = ("art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop")
# After "B." these begin a new sentence, so that the letter loses its period.
_STARTS = (
    "a about according after an as at but earlier he her here however if in it last many more now once one other "
    "our she since so some such that the their then there these they this we what when while yet you"
)
_FILES = (
    "bat|bmp|class|cgi|cpp|dll|docx?|exe|gif|gz|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|xml|"
    "zip|x|c|h"
)
ASSIMILATED = {word.replace(" ", ""): word for word in ("can not", "gon na", "got ta", "wan na", "lem me", "gim me")}
_QUOTES = {
    **dict.fromkeys("`‘‛‹\x91", "`"),
    **dict.fromkeys("’›\x92", "'"),
    **dict.fromkeys("“«\x93", "``"),
    **dict.fromkeys("”»\x94", "''"),
    **{mark: mark for mark in "‚„‟"},
}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_WRITTEN = {
    **_BRACKETS,
    **dict.fromkeys("\x80¤₠€", "$"),
    **dict.fromkeys("\x96\x97–—―", "--"),
    **{"¢": "cents", "£": "#", "¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "…": "...", '"': "''"},
}
_ENTITIES = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": "''",
    "&apos;": "'",
    "&md;": "--",
    "&mdash;": "--",
    "&ndash;": "--",
    "&nbsp;": "",
}

_OUTSIDE = r' \t\n"<>|(){}'  # never within an address
_NAME = r"[A-Za-z][A-Za-z0-9_:.-]*"
_ATTRIBUTE = rf"""[ ]+{_NAME}(?:[ ]*=[ ]*(?:'[^'\n]*'|"[^"\n]*"))?"""
_TAG = rf"(?:</{_NAME}[ ]*>|<{_NAME}(?:{_ATTRIBUTE})*[ ]*/?[ ]*>|<[!?][A-Za-z-][^>\n]*>)"

Write = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Group 1 of `pattern` is the token; `write` gives how it is printed, None as it stands."""

    name: str
    starts: str  # character class of the first character; empty for any
    pattern: re.Pattern[str]
    write: Write | None = None
    needs: str = ""  # a character without which there is no match: tried only if it stands before the next space


def _no_soft_hyphen(token: str) -> str:
    return token.replace("\u00ad", "")


def _plain_apostrophe(token: str) -> str:
    return token.replace("’", "'").replace("\x92", "'").replace("&apos;", "'")


def _solid(token: str) -> str:
    """A space within a token is printed as one that does not break."""
    return token.replace(" ", "\u00a0")


def _round_brackets(token: str) -> str:
    return _solid(token).replace("(", "-lrb-").replace(")", "-rrb-")


def _ranges(text: str) -> str:
    """Hexadecimal ranges as the inside of a regular expression's character class."""
    return "".join("-".join(f"\\u{int(end, 16):04x}" for end in part.split("-")) for part in text.split())


def _words(text: str) -> str:
    return "|".join(text.split())


def _capitalised(text: str) -> str:
    return "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in text.split())


class _Table:
    """Rules in order of precedence; the shorthands of their patterns depend on the letters that a text can hold."""

    def __init__(self, letters: str, marks: str, digits: str) -> None:
        self.rules: list[Rule] = []
        self.T, self.D = letters, digits
        self.L = f"{letters}{marks}\\u00ad"
        self.N = f"[{letters}{digits}]"
        self.accented = r"&[aeiouAEIOU](?i:acute|grave|uml);"
        self.letter = rf"(?:[{self.L}]|{self.accented})"
        self.word = rf"{self.letter}(?:[{self.L}{digits}]|{self.accented})*"
        self.words = f"{self.L}&"  # first characters of words
        self.Q = r"(?:['\u2019\u0092]|(?i:&apos;))"
        self.backquote = r"(?:['\u2019\u0092`\u2018\u0091\u201b]|(?i:&apos;))"
        self.suffix = f"{self.Q}(?i:[msd]|re|ve|ll)"
        self.apostrophes = r"'\u2019\u0092&"

    def add(
        self, name: str, starts: str, token: str, after: str = "", write: Write | None = None, needs: str = ""
    ) -> None:
        pattern = re.compile(f"({token})(?:{after})" if after else f"({token})")
        self.rules.append(Rule(name, starts, pattern, write, needs))


def _contractions(t: _Table) -> None:
    for first, second in (word.split() for word in ASSIMILATED.values()):
        t.add("assimilated", "A-Za-z", f"(?i:{first})", f"(?i:{second})")
    t.add("'t of 'tis", "'", "'(?i:t)", "(?i:is|was)")
    t.add("word", t.words, t.word, write=_no_soft_hyphen)
    t.add("word before 's", t.words, t.word, t.suffix, write=_no_soft_hyphen)
    t.add("d'Artagnan", "dDoOlL", f"[dDoOlL]{t.backquote}{t.N}{{2,}}", write=_no_soft_hyphen)
    t.add("N'Djamena", "A-HJ-XZn", f"[A-HJ-XZn]{t.backquote}[{t.T}]{{2,}}")
    t.add("'s", t.apostrophes, t.suffix, "[^A-Za-z]", write=_plain_apostrophe)
    t.add(
        "word before n't",
        r"A-Za-z\u00ad",
        r"[A-Za-z\u00ad]*[a-mo-zA-MO-Z]",
        f"[nN]{t.backquote}[tT]",
        write=_no_soft_hyphen,
    )
    t.add("n't", "nN", f"[nN]{t.backquote}[tT]", write=lambda token: "n't" if _apostrophe(token) else "n`t")
    t.add("Xi'an", t.T, f"[{t.T}]+[aeiouyAEIOUY]{t.backquote}[aeiouA-Z][{t.T}]*")
    t.add("where'er", t.T, f"(?:[oO]|[{t.T}]*[eE]){t.Q}[eE][rR]")
    listed = f"o{t.backquote}o|c{t.Q}mon|ma{t.Q}am|nor{t.Q}easter|d{t.Q}ye|jusqu{t.Q}au|qu{t.Q}est|o{t.Q}clock"
    t.add("o'clock", "oOcCmMnNdDjJqQ", f"(?i:{listed})")
    t.add("l'", "dDjJlLoO", f"(?:[dDjJlL]|[oO][lL]){t.Q}")
    t.add("y'", "yY", f"[yY]{t.Q}", f"[{t.T}]")
    t.add("'em", t.apostrophes, f"{t.Q}(?i:em|till|til|cause|n{t.Q})")
    t.add("'n", t.apostrophes, f"{t.Q}[nN]")
    t.add("'90s", t.apostrophes, f"{t.Q}[2-9]0s")
    t.add("'90", t.apostrophes, f"{t.Q}[0-9][0-9]", rf"[{_SPACE}\n]")
    t.add("opening '", "'", "'", r"[A-Za-z][^ \t\n\u00a0]", write=lambda token: "`")
    t.add("'s before a letter", t.apostrophes, t.suffix, write=_plain_apostrophe)


def _apostrophe(token: str) -> bool:
    return not any(mark in token for mark in "`‘\x91‛")


def _joined(t: _Table) -> None:
    ends, states = f"(?i:{_words(_ENDS)})", f"(?:{_capitalised(_STATES)})"
    hyphen = r"[-_\u058a\u2010\u2011]"
    part = f"(?:[dDoOlL]{t.backquote}{t.N}{{2,}}|{t.N}+)"
    side = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
    t.add("word. before ,", t.words, rf"{t.word}(?:[.!?]{t.word})*\.", "[,:;]", _no_soft_hyphen)
    t.add("a-b. before ,", t.T + t.D, rf"{t.N}+(?:{hyphen}{part})*\.", "[,:;]")
    t.add("hyphened", t.T + t.D, f"{t.N}+(?:{hyphen}{part})*")
    t.add("l'hyphened", "dDoOlL", f"[dDoOlL]{t.backquote}{t.N}{{2,}}(?:{hyphen}{part})+")
    t.add("either/or", "A-Za-z0-9", rf"{side}(?:\\?/{side}){{1,2}}")
    t.add("dotted", t.words, f"{t.word}(?:[.!?]{t.word})+", write=_no_soft_hyphen)
    t.add("dotted before 's", t.words, f"{t.word}(?:[.!?]{t.word})+", t.suffix, _no_soft_hyphen)
    t.add("Inc. inside", "A-Za-z", rf"{ends}\.", r"[\s\S]{2}")
    t.add("Mass. inside", "A-Z", rf"{states}\.", r"[\s\S]{2}")
    initials = r"[A-Za-z](?:\.[A-Za-z])+\."
    tail = rf"(?:-(?:{initials}|[A-Za-z0-9\u00ad]+))+"
    based = rf"[A-Za-z0-9][A-Za-z0-9.,\u00ad]*+{tail}"
    t.add("U.S.-based", "A-Za-z0-9", based, write=_no_soft_hyphen, needs="-")
    t.add("U.S.", "A-Za-z", r"[A-Za-z](?:\.[A-Za-z])*\.")
    t.add("U.S", "A-Za-z", r"[A-Za-z](?:\.[A-Za-z])+")
    capitals = r"[A-Z]+(?:(?:&|&amp;|\+)[A-Z]+)"
    t.add("AT&T", "A-Z", f"{capitals}+", write=lambda token: token.replace("&amp;", "&"))
    t.add("US$", "A-Z", r"[A-Z]+\$")
    starts = rf"{_capitalised(_STARTS)}|M[rRsS]\."
    t.add("plan B", "A-Za-z", "[A-Za-z]", rf"\.[{_SPACE}]+(?:{starts}|{_TAG})[{_SPACE}\n]")
    t.add("Mr.", "A-Za-z", rf"(?i:{_words(_ENDS)}|{_words(_TITLES)})\.")
    t.add("Mass.", "A-Z", rf"{states}\.")
    t.add("no. 5", "A-Za-z", rf"(?i:{'|'.join(BEFORE_NUMBERS)})\.", f"[{_SPACE}]?[{t.D}]")
    t.add("pro-", "aApP", "(?i:anti|pro)-")
    t.add("c++", "cCfF", r"(?i:c\+\+|[cf]#)")


def _numbers(t: _Table) -> None:
    digits = rf"[{t.D}]+(?:\u00ad[{t.D}]+)*"
    number = rf"(?:(?:\u00ad?{digits})?(?:[.,:\u066b\u066c]{digits})+|\u00ad?{digits})"
    t.add("number", t.D + r"\u00ad\-+.,:\u066b\u066c", f"[-+]?{number}", write=_no_soft_hyphen)
    short = f"[{t.D}]{{1,4}}"
    t.add("fraction", t.D, rf"(?:{short}[- \u00a0])?{short}(?:\\?/|\u2044){short}", write=_solid)
    t.add("date", t.D, f"[{t.D}]{{1,2}}[-/][{t.D}]{{1,2}}[-/][{t.D}]{{2,4}}")
    local = r"[0-9]{3,4}[- \u00a0]?[0-9]{3,5}"
    area = r"[0-9]{2,4}[- \u00a0]"
    t.add("phone", "0-9+", rf"\+?(?:{area})?{area}{local}", write=_solid)
    t.add("(phone)", "(", rf"\([0-9]{{2,3}}\)[ \u00a0]?{local}", write=_round_brackets)


def _mail(t: _Table) -> None:
    name = rf"[^{_OUTSIDE}\u00a0.]+"
    mail = rf"[A-Za-z0-9][^{_OUTSIDE}\u00a0]*@{name}(?:\.{name})*"
    t.add("e-mail", "A-Za-z0-9<&", f"(?:<|&lt;)?{mail}(?:>|&gt;)?", needs="@")


def _web(t: _Table) -> None:
    path = rf'/[^ \t\n"<>|()]+[^{_OUTSIDE}.,!?-]'
    t.add("https://", "hH", rf"(?i:https?)://[^{_OUTSIDE}]+[^{_OUTSIDE}.,!?-]")
    www = rf"[wW]{{3}}\.(?:[^{_OUTSIDE}.,!?]+\.)+[A-Za-z]{{2,4}}"
    t.add("www.", "wW", www)
    t.add("www./", "wW", f"{www}{path}")
    letter = rf"{_OUTSIDE}.,!?'`:;$/=\\\^\[\]@A-Z0-9_\-"  # none of these in a host without www
    host = rf"(?:[^{letter}]+\.)+(?i:com|net|org|edu)"
    t.add("host.com", f"^{letter}", host, needs=".")
    t.add("host.com/", f"^{letter}", f"{host}{path}", needs=".")
    t.add("@name", "@", "@[A-Za-z_][A-Za-z_0-9]*")
    t.add("#tag", "#", f"#{t.letter}+")
    named = rf"[{t.L}{t.D}]+(?:\.[{t.L}{t.D}]+)*\.(?i:{_FILES})"
    t.add("file.jpg", t.L + t.D, named, rf"[{_SPACE}\n.,!?]")
    t.add("<tag>", "<", _TAG, write=_solid, needs=">")


def _punctuation(t: _Table) -> None:
    t.add("...", ".", r"\.{3,5}", write=lambda token: "...")
    t.add("--", r"\-", "-{2,4}", write=lambda token: "--")
    t.add("-----", r"\-", "-{5,}")
    t.add("?!", "?!", "[?!]+")
    t.add("run", r"_\\*#@'<>", r"_+|(?:\\\*)+|\*+|#+|@+|''|<<|>>")
    raised, lowered, signs = r"\u2070\u00b9\u00b2\u00b3\u2074-\u2079", r"\u2080-\u2089", r"\u207a\u207b\u208a\u208b"
    t.add("x²", raised + lowered + signs, f"[{signs}]?(?:[{raised}]+|[{lowered}]+)")
    quotes = "".join(_QUOTES)
    t.add("quotes", quotes, f"[{quotes}]{{1,2}}", write=lambda token: "".join(map(_QUOTES.__getitem__, token)))
    t.add(":-)", "<>:;=", r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", "[^A-Za-z0-9]", write=_round_brackets)
    eye = "[-^x=~<>']"
    t.add("^_^", "-(^x=~<>'", rf"\({eye}[_.]?{eye}\)|{eye}_{eye}", write=_round_brackets)
    for entity, written in _ENTITIES.items():
        # Java knows the quotes in any case, but writes only those in lower case as quotes.
        quote = entity in ("&quot;", "&apos;")
        t.add(entity, "&", f"(?i:{entity})", write=lambda t, w=written, q=quote: t if q and t != t.lower() else w)  # type: ignore[misc]
    t.add("&#39;", "&", "&(?:#[0-9]+|(?i:ht|lr|tl|qc|ql|qr|ur|cdq|odq));")
    for character, written in _WRITTEN.items():
        t.add("character", re.escape(character), re.escape(character), write=lambda token, w=written: w)  # type: ignore[misc]


@cache
def _rules(ascii_only: bool) -> tuple[Rule, ...]:
    """Two tables, because the classes of all letters take long to compile and few captions need them."""
    classes = ("A-Za-z", "", "0-9") if ascii_only else map(_ranges, (LETTERS, MARKS, DIGITS))
    table = _Table(*classes)
    for part in (_contractions, _mail, _joined, _numbers, _web, _punctuation):
        part(table)
    return tuple(table.rules)


@cache
def rules_at(character: str, ascii_only: bool) -> tuple[Rule, ...]:
    """The rules that can begin with this character, in order. `ascii_only` says that the text holds ASCII alone."""
    return tuple(rule for rule in _rules(ascii_only) if not rule.starts or re.match(f"[{rule.starts}]", character))
