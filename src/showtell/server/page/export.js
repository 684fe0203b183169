// Captions as people take them with them: sentences, HTML, a table for a spreadsheet.

// As `showtell caption --sentence` writes it: a capital and a full stop.
export function sentence(text) {
  if (!text) return "";
  const [first] = text; // a whole character
  return first.toLocaleUpperCase() + text.slice(first.length) + (/[.!?]$/.test(text) ? "" : ".");
}

// The parts of a sentence: [what stands before, the word] for each word, then what stands behind the last.
// Words are looked for in the text, for it is not always the words with blanks between them ("man", "'s").
export function parts(text, words) {
  const found = [];
  let at = 0;
  for (const word of words) {
    const start = text.toLocaleLowerCase().indexOf(word.toLocaleLowerCase(), at);
    if (start < 0) return { found: words.map((one, i) => [i ? " " : "", one]), rest: "" };
    found.push([text.slice(at, start), text.slice(start, start + word.length)]);
    at = start + word.length;
  }
  return { found, rest: text.slice(at) };
}

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text) => text.replace(/[&<>"]/g, (character) => ESCAPES[character]);

// A picture as a web page shows it.
export function html(picture) {
  const address = picture.name.split("/").map(encodeURIComponent).join("/");
  const size = picture.width ? ` width="${picture.width}" height="${picture.height}"` : "";
  return `<img src="${escaped(address)}" alt="${escaped(sentence(picture.captions[0].text))}"${size}>`;
}

// A cell that begins like a formula would be run by a spreadsheet: an apostrophe makes it text.
function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// One line for each caption, or for the reason why there is none.
export function csv(pictures) {
  const lines = [["file", "rank", "caption", "probability", "model", "error"]];
  for (const picture of pictures) {
    if (picture.state === "done") {
      picture.captions.forEach((caption, i) => {
        const probability = Number(caption.probability.toPrecision(4));
        lines.push([picture.name, i + 1, sentence(caption.text), probability, picture.model, ""]);
      });
    } else if (picture.state === "failed") lines.push([picture.name, "", "", "", picture.model, picture.trouble.message]);
  }
  return lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

export function save(text, name) {
  const address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" })); // for Excel
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Puts text on the clipboard; false where the browser does not let us.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* there is none on plain http from another machine: the older way */ }
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    focused?.focus();
  }
}
