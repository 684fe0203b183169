// Pictures come in: dropped, pasted, chosen.

const at = (id) => document.getElementById(id);

// Files below a folder that was dropped, in the order of their names. Their path becomes their name.
async function below(folder, path) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) { // it gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    entries.push(...some);
  }
  entries.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  const found = [];
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const name = `${path}${entry.name}`;
    if (entry.isDirectory) found.push(...await below(entry, `${name}/`));
    else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (looksLikePicture(file)) found.push({ file, name });
    }
  }
  return found;
}

// Among the files of a folder; a single file that someone chose is always sent, for the server looks inside.
const looksLikePicture = (file) =>
  file.type.startsWith("image/") || /\.(avif|bmp|gif|heic|heif|jpe?g|jp2|png|tiff?|webp)$/i.test(file.name);

async function gathered(transfer) {
  // Entries must be taken at once: behind the first `await` the browser has emptied the list.
  const items = [...(transfer?.items ?? [])].filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const found = [];
  for (const { entry, file } of items) {
    if (entry?.isDirectory) found.push(...await below(entry, `${entry.name}/`));
    else if (file) found.push({ file, name: file.name });
  }
  return found;
}

// `take` gets [{file, name}]; `tell` a line for people where something held no picture.
export function listen(take, tell) {
  const receive = async (transfer, what) => {
    const found = await gathered(transfer).catch(() => []);
    if (found.length) take(found);
    else tell(`There is no picture in what was ${what}.`);
  };
  const chosen = (input) => {
    take([...input.files].map((file) => ({ file, name: file.name })));
    input.value = ""; // so that the same file can be chosen again
  };

  at("choose").addEventListener("click", () => at("files").click());
  for (const id of ["files", "shot"]) at(id).addEventListener("change", () => chosen(at(id)));

  document.addEventListener("paste", (event) => {
    const typing = event.target.closest?.("input, textarea");
    if (typing && !event.clipboardData?.files.length) return;
    event.preventDefault();
    receive(event.clipboardData, "pasted");
  });

  let inside = 0; // `dragenter` and `dragleave` come for every element on the way
  const veil = () => document.body.classList.toggle("dragging", inside > 0);
  const files = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    inside += files(event) ? 1 : 0;
    veil();
  });
  document.addEventListener("dragleave", (event) => {
    inside = Math.max(0, inside - (files(event) ? 1 : 0));
    veil();
  });
  document.addEventListener("dragover", (event) => {
    if (files(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    inside = 0;
    veil();
    if (event.target.closest?.("input") && !files(event)) return;
    event.preventDefault(); // a browser would leave the page and show the file
    receive(event.dataTransfer, "dropped");
  });
}
