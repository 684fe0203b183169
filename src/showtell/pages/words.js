// The words of captions: pointing at one, focusing or tapping it shows where the model looked when it said it.
"use strict";

window.showtellWords = (() => {
  const parts = new Map(); // number of a file of attention -> promise of its list
  const arrived = new Map(); // number -> what takes the list
  let said = () => {}; // tells people who do not see the map

  // Each file of attention calls this.
  window.showtellAttention = (part, list) => arrived.get(part)?.(list);

  function load(part) {
    if (!parts.has(part)) {
      parts.set(part, new Promise((resolve) => {
        arrived.set(part, resolve);
        const script = document.createElement("script");
        script.src = `attention/${String(part).padStart(4, "0")}.js`;
        script.onerror = () => resolve([]);
        document.head.append(script);
      }));
    }
    return parts.get(part);
  }

  // {rows, columns, words: bytes of each word}, or null where a picture has none.
  async function attention(card) {
    if (card.maps === undefined) {
      const { part, place } = card;
      const found = (await load(part))[place];
      card.maps = found ? { rows: found[0], columns: found[1], values: window.showtellHeat.unpack(found[2]) } : null;
    }
    return card.maps;
  }

  // What is shown: that of the pointer before that of a tap before that of the keyboard. Each {card, word} or null.
  const held = { pointed: null, tapped: null, focused: null };
  const current = (card) => [held.pointed, held.tapped, held.focused].find((one) => one?.card === card)?.word ?? -1;

  async function show(card, aloud = false) {
    const maps = await attention(card);
    const word = current(card); // it may have changed while the file was loading
    card.onShow?.(word);
    [...card.words].forEach((element, i) => {
      element.classList.toggle("shown", i === word);
      element.setAttribute("aria-pressed", String(held.tapped?.card === card && held.tapped.word === i));
    });
    if (!maps || word < 0) {
      card.canvas?.classList.remove("shown");
      return;
    }
    const size = maps.rows * maps.columns;
    const values = maps.values.subarray(word * size, (word + 1) * size);
    if (values.length < size) return;
    if (!card.canvas) {
      card.canvas = document.createElement("canvas");
      card.canvas.setAttribute("aria-hidden", "true");
      card.frame.append(card.canvas);
      card.canvas.getBoundingClientRect(); // so that it fades in from nothing
    }
    const ratio = card.picture.width / card.picture.height;
    window.showtellHeat.draw(card.canvas, values, maps.rows, maps.columns, ratio, card.picture.seen ?? [0, 0, 1, 1]);
    card.canvas.classList.add("shown");
    const place = window.showtellHeat.place(values, maps.rows, maps.columns);
    if (aloud) said(`${card.words[word].textContent}: most attention at ${place}`);
  }

  function hold(kind, card, word) {
    const before = held[kind];
    held[kind] = card ? { card, word } : null;
    if (before && before.card !== card) show(before.card);
    if (card) show(card, kind === "focused");
  }

  function move(event, card, word) {
    const rightToLeft = getComputedStyle(card.caption).direction === "rtl";
    const last = card.words.length - 1;
    const target = {
      ArrowRight: word + (rightToLeft ? -1 : 1), ArrowLeft: word + (rightToLeft ? 1 : -1), Home: 0, End: last,
    }[event.key];
    if (target === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = card.words[Math.min(Math.max(target, 0), last)];
    card.words.forEach((element) => { element.tabIndex = element === next ? 0 : -1; });
    next.focus();
  }

  // Let the captions of `cards`, found by `cardOf` from an element, answer; `tell` says a line to screen readers.
  function listen(list, cardOf, tell) {
    said = tell;
    const at = (event) => {
      const element = event.target.closest?.(".word[role]");
      const card = element && cardOf(element);
      return card ? [card, card.words.indexOf(element)] : [null, -1];
    };
    list.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch") hold("pointed", ...at(event));
    });
    list.addEventListener("pointerleave", () => hold("pointed", null));
    list.addEventListener("focusin", (event) => hold("focused", ...at(event)));
    list.addEventListener("focusout", () => hold("focused", null));
    const tap = (card, word) => {
      const again = held.tapped?.card === card && held.tapped.word === word;
      if (again) {
        held.focused = null;
        hold("tapped", null);
        show(card);
      } else hold("tapped", card, word);
    };
    list.addEventListener("click", (event) => {
      const [card, word] = at(event);
      if (card) tap(card, word);
      else if (!event.target.closest("a, summary, button")) hold("tapped", null);
    });
    list.addEventListener("keydown", (event) => {
      const [card, word] = at(event);
      if (!card) return;
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        tap(card, word);
      } else if (event.key === "Escape") {
        held.focused = null;
        hold("tapped", null);
        show(card);
      } else move(event, card, word);
    });
  }

  // Cards were laid out anew: of those for which `gone` is true nothing is held any more.
  function forget(gone = () => true) {
    for (const kind of Object.keys(held)) if (held[kind] && gone(held[kind].card)) held[kind] = null;
  }

  return { listen, forget };
})();
