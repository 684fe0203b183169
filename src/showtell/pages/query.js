// What is typed into the search field -> which pictures fit, and which parts of their texts are to be marked.
"use strict";

window.showtellQuery = (() => {
  const LETTER = /^[\p{L}\p{M}\p{N}]/u;
  // Scripts that part words by no blank: a term may begin anywhere.
  const JOINED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

  // A term stands where a word begins: "dog" finds "dogs", "cat" does not find "scattered".
  function pattern(term) {
    const literal = term.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&").replace(/\s+/g, "\\s+");
    const begins = LETTER.test(term) && !JOINED.test(term) ? "(?<![\\p{L}\\p{M}\\p{N}])" : "";
    return new RegExp(begins + literal, "giu");
  }

  // Words, "phrases in quotes", and -words that must not be there.
  function parse(text) {
    const query = { wanted: [], unwanted: [] };
    for (const [, minus, phrase, word] of text.normalize("NFC").matchAll(/(-?)(?:"([^"]+)"|([^\s"]+))/g)) {
      const term = (phrase ?? word).trim();
      if (term) query[minus ? "unwanted" : "wanted"].push(pattern(term));
    }
    return query;
  }

  function found(term, texts) {
    return texts.some((text) => text.search(term) >= 0);
  }

  // Every wanted term stands in one of the texts, and no unwanted one does.
  function fits(query, texts) {
    return query.wanted.every((term) => found(term, texts)) && !query.unwanted.some((term) => found(term, texts));
  }

  // Where wanted terms stand in a text: [begin, end] in order, joined where they overlap.
  function marks(query, text) {
    const places = query.wanted.flatMap((term) =>
      [...text.matchAll(term)].map((match) => [match.index, match.index + match[0].length]));
    places.sort((a, b) => a[0] - b[0]);
    return places.reduce((joined, [begin, end]) => {
      const last = joined.at(-1);
      if (last && begin <= last[1]) last[1] = Math.max(last[1], end);
      else joined.push([begin, end]);
      return joined;
    }, []);
  }

  return { parse, fits, marks };
})();
